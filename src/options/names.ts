import { LockOptionError, show } from "../errors.ts";

/** @throws LockOptionError unless it is an object */
export function readObject(options: unknown): asserts options is object {
  if (typeof options !== "object" || !options)
    throw new LockOptionError("options", show(options), "an object");
}

/**
 * @returns the options, if it is an object that has none but those
 * @throws LockOptionError
 */
export function onlyOptions<Options extends object>(
  options: Options,
  names: readonly (keyof Options & string)[],
): Options {
  readObject(options);
  for (const name of Object.keys(options))
    if (!names.includes(name as keyof Options & string))
      throw new LockOptionError(name, "an unknown option", `one of ${names.join(", ")}`);
  return options;
}
