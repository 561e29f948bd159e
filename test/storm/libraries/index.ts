import { effectDistributedLock } from "./effect-distributed-lock.ts";
import type { Library } from "./library.ts";
import { redisSemaphore, redisSemaphorePermits } from "./redis-semaphore.ts";
import { redlock } from "./redlock.ts";
import { serverlessLock } from "./serverless-lock.ts";
import { upstashLock } from "./upstash-lock.ts";

const byName: Record<string, () => Library> = {
  "serverless-lock": serverlessLock,
  "@upstash/lock": upstashLock,
  redlock,
  "redis-semaphore": redisSemaphore,
  "redis-semaphore's permits": redisSemaphorePermits,
  "effect-distributed-lock": effectDistributedLock,
};

export const libraryNames = Object.keys(byName);

/**
 * By its name, or a variant of this package by the path of a module. Undefined where there is none.
 * @param title what a variant is called
 */
export function libraryOf(name: string, title = name): Library | undefined {
  return byName[name]?.() ?? (/\.(js|mjs|ts)$/.test(name) ? serverlessLock(name, title) : undefined);
}
