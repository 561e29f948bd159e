import type { Redis } from "ioredis";
import {
  type Attempt,
  type Held,
  type Library,
  onlyHolder,
  onlyKey,
  type Refused,
  requestTimeout,
} from "./library.ts";
import { holdersOfSet, permitOf, readSet, relyOn } from "./semaphores.ts";
import { connectTcp, peerVersion } from "./tcp.ts";

interface Mutex {
  readonly isAcquired: boolean;
  tryAcquire(): Promise<boolean>;
  release(): Promise<void>;
}
interface Classes {
  Mutex: new (redis: Redis, key: string, options: object) => Mutex;
  MultiSemaphore: new (redis: Redis, key: string, limit: number, permits: number, options: object) => Mutex;
}

/**
 * `redis-semaphore`'s Mutex over TCP, with its own pace of asking again and renewing. It says whether a lock was lost,
 * but not for how long it holds: its user is taken to count one lease from when it was taken, and to ask when it is
 * over whether it is held still.
 */
export function redisSemaphore(): Library {
  return {
    ...common(({ Mutex }, redis, attempt, options) => new Mutex(redis, onlyKey(attempt), options)),
    name: "redis-semaphore",
    title: "redis-semaphore",
    kinds: ["exclusive"],
    redisKey: (key) => `mutex:${key}`,
    holders: onlyHolder((value) => value),
  };
}

/** Its MultiSemaphore, likewise. */
export function redisSemaphorePermits(): Library {
  return {
    ...common(({ MultiSemaphore }, redis, attempt, options) => {
      const { key, limit, weight } = permitOf(attempt);
      return new MultiSemaphore(redis, key, limit, weight, options);
    }),
    name: "redis-semaphore's permits",
    title: "redis-semaphore's permits",
    kinds: ["permits"],
    redisKey: (key) => `semaphore:${key}`,
    read: readSet,
    holders: holdersOfSet,
  };
}

function common(make: (classes: Classes, redis: Redis, attempt: Attempt, options: object) => Mutex) {
  return {
    version: peerVersion("redis-semaphore") ?? "not installed",
    ours: false,
    transport: "tcp",
    tells: false,
    fences: false,
    limit: () => 2 * requestTimeout,
    lease: (ttl) => ttl,
    lifetime: (_, longestTtl) => longestTtl,
    async open({ redisUrl }) {
      // Not among the packages of the root, so that types cannot come from there.
      const module = "redis-semaphore";
      const classes = (await import(module)) as Classes;
      const redis = connectTcp(redisUrl, requestTimeout);

      async function acquire(attempt: Attempt): Promise<Held | Refused> {
        const { id, wait, ttl, renew } = attempt;
        let tell = (_why: string) => {};
        const mutex = make(classes, redis, attempt, {
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
        return {
          ...relyOn(attempt, () => mutex.isAcquired),
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
  } satisfies Partial<Library>;
}
