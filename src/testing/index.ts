import type { Locker, LockOptions } from "../api.ts";
import { newLocker } from "../locker.ts";
import { defaults, readOptions } from "../options/lock-options.ts";
import type { RedisClient } from "../redis/client.ts";
import { connect } from "../redis/connection.ts";
import { forever, realRuntime } from "../runtime.ts";
import { createMemoryRedis } from "./memory-redis.ts";

/**
 * A locker that keeps its locks in memory, for unit tests of code that takes locks: nothing to start, and no
 * request is sent. Lockers made apart share nothing. Time is `Date.now()`, so fake timers are honoured.
 *
 * @example
 * const locker = memoryLocker();
 * const handler = middy().use(lockMiddleware({ locker, key: "report" })).handler(work);
 *
 * @throws LockOptionError when an option is wrong
 */
export function memoryLocker(options: LockOptions = {}): Locker {
  const connection = connect(memoryClient(), realRuntime);
  return newLocker(() => connection, readOptions(defaults, options));
}

function memoryClient(): RedisClient {
  const listeners = new Map<string, (message: string) => void>();
  const redis = createMemoryRedis({
    now: () => Date.now(),
    publish(channel, message) {
      const hear = listeners.get(channel);
      hear?.(message);
      return hear ? 1 : 0;
    },
  });
  return {
    exact: true,
    resendsAfter: forever,
    send: async (command) => redis.command(...(command.map(String) as [string, ...string[]])),
    async listen(channel, hear, signal) {
      listeners.set(channel, hear);
      hear("");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      listeners.delete(channel);
    },
  };
}
