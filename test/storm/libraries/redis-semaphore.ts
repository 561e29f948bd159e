import type { Redis } from "ioredis";
import { now } from "../log.ts";
import { type Attempt, type Held, type Library, type Refused, requestTimeout } from "./library.ts";
import { connectTcp, peerVersion } from "./tcp.ts";

interface Mutex {
  readonly isAcquired: boolean;
  tryAcquire(): Promise<boolean>;
  release(): Promise<void>;
}

/**
 * `redis-semaphore`'s Mutex over TCP, with its own pace of asking again and renewing. It says whether a lock was lost,
 * but not for how long it holds: its user is taken to count one lease from when it was taken, and to ask when it is
 * over whether it is held still.
 */
export function redisSemaphore(): Library {
  return {
    name: "redis-semaphore",
    title: "redis-semaphore",
    version: peerVersion("redis-semaphore") ?? "not installed",
    ours: false,
    transport: "tcp",
    tells: false,
    fences: false,
    limit: () => 2 * requestTimeout,
    lease: (ttl) => ttl,
    redisKey: (key) => `mutex:${key}`,
    identify: (value) => value,
    lifetime: (_, longestTtl) => longestTtl,
    async open({ redisUrl }) {
      // Not among the packages of the root, so that types cannot come from there.
      const module = "redis-semaphore";
      const { Mutex } = (await import(module)) as {
        Mutex: new (redis: Redis, key: string, options: object) => Mutex;
      };
      const redis = connectTcp(redisUrl, requestTimeout);

      async function acquire({ id, key, wait, ttl, renew }: Attempt): Promise<Held | Refused> {
        let tell = (_why: string) => {};
        const mutex = new Mutex(redis, key, {
          identifier: id,
          lockTimeout: ttl,
          acquireTimeout: Math.max(wait, 1),
          // Without a wait, one attempt.
          ...(wait === 0 && { acquireAttemptsLimit: 1 }),
          ...(!renew && { refreshInterval: 0 }),
          onLockLost: (error: Error) => tell(error.name),
        });
        try {
          if (!(await mutex.tryAcquire())) return { verdict: "busy", why: "false" };
        } catch (error) {
          return { verdict: "unknown", why: (error as Error).name };
        }
        const since = now();
        const sure = () => {
          if (!mutex.isAcquired) return 0;
          const left = since + ttl - now();
          return renew ? Math.max(left, 0.001) : left;
        };
        return {
          aborted: () => sure() <= 0,
          sure,
          onAbort: (listener) => {
            tell = listener;
          },
          async release() {
            await mutex.release();
            return undefined;
          },
        };
      }
      return { acquire, close: async () => redis.disconnect() };
    },
  };
}
