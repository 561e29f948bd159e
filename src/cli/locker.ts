import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { printable } from "../errors.ts";
import { createLocker, type Locker } from "../index.ts";
import { type Common, WrongUse } from "./command.ts";

/**
 * The locker that flags, a file or the environment say. A flag goes before a variable, that before the file. An empty one
 * is as good as none.
 */
export function lockerOf({ url, token, prefix, envFile }: Common): Locker {
  const variables = [process.env, envFile === undefined ? {} : readVariables(envFile)];
  const oneOf = (...names: string[]) =>
    variables.flatMap((from) => names.map((name) => from[name])).find(Boolean);
  return createLocker({
    prefix,
    url: url || oneOf("UPSTASH_REDIS_REST_URL", "KV_REST_API_URL"),
    token: token || oneOf("UPSTASH_REDIS_REST_TOKEN", "KV_REST_API_TOKEN"),
  });
}

function readVariables(file: string): Record<string, string | undefined> {
  try {
    return parseEnv(readFileSync(file, "utf8"));
  } catch (error) {
    throw new WrongUse(`--env-file: ${printable((error as Error).message)}`);
  }
}
