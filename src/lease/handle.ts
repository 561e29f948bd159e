import type { LockHandle, Settings } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { defaults, readOptions } from "../options/lock-options.ts";
import { readKey } from "../options/targets.ts";

/** By it Node, Deno and Bun print a value. */
const inspected = Symbol.for("nodejs.util.inspect.custom");

/** A handle that a log shows by its key alone. */
export function newHandle(handle: LockHandle): LockHandle {
  return inspectedAs(handle, () => `LockHandle { key: ${show(handle.key)} }`);
}

/** Says what a log shows of it. To be hidden is not enough: Bun prints hidden properties, and so does Node's `%o`. */
export function inspectedAs<T>(value: T, shown: () => unknown): T {
  return Object.defineProperty(value, inspected, { value: shown });
}

const wholeToken = /^[0-9a-f]{32}$/;

/** Checks a handle; nothing of it is shown, since it holds a token. */
export function readHandle(handle: unknown): LockHandle {
  try {
    const { key, prefix, token, ttl, owner, fence, holdFor } =
      typeof handle === "string" ? JSON.parse(handle) : handle;
    // A store may write undefined as null, and settings take an undefined one for a default.
    const read = { prefix, ttl, owner: owner ?? undefined, holdFor: holdFor ?? 0 };
    const settings = readOptions(defaults, read);
    const same = Object.entries(read).every(([name, value]) => settings[name as keyof Settings] === value);
    if (
      same &&
      wholeToken.test(token) &&
      (fence ?? undefined) === (Number.isSafeInteger(fence) ? fence : undefined)
    )
      return { ...read, key: readKey(key), token, fence: fence ?? undefined };
  } catch {}
  throw new LockOptionError("handle", typeof handle, "what lock.toJSON() gave, or its JSON");
}
