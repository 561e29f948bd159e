import { printable } from "../errors.ts";
import { createLocker, type Locker } from "../index.ts";
import { type Common, WrongUse } from "./command.ts";

/** The locker that flags, a file or the environment say. A flag goes before a variable, that before the file. */
export function lockerOf({ url, token, prefix, envFile }: Common): Locker {
  if (envFile !== undefined) {
    try {
      process.loadEnvFile(envFile);
    } catch (error) {
      throw new WrongUse(`--env-file: ${printable((error as Error).message)}`);
    }
  }
  const { env } = process;
  return createLocker({
    prefix,
    url: url || env.UPSTASH_REDIS_REST_URL || env.KV_REST_API_URL,
    token: token || env.UPSTASH_REDIS_REST_TOKEN || env.KV_REST_API_TOKEN,
  });
}
