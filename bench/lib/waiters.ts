import { createRequire } from "node:module";
import { Lock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { createLocker, type Target } from "serverless-lock";
import type { Credentials } from "./contenders.ts";

/** One way to wait for a lock, work under it and let it go. Rejects when the lock was not held to the end. */
type Waiter = (target: Target, work: () => Promise<void>) => Promise<void>;

/** The lease everybody asks for, in ms. */
const ttl = 30_000;
/** How long everybody is ready to wait, in ms. */
const patience = 600_000;

/** All of them, by name. Each waits as its documentation says, a client in its default settings under it. */
export const waiters = {
  "serverless-lock": (credentials) => ours(credentials),
  "serverless-lock, given an @upstash/redis": (credentials) => ours({ redis: new Redis(credentials) }),
  "@upstash/lock": upstashLock,
  "polling SET NX": polling,
  "redis-semaphore over TCP": redisSemaphore,
} as const satisfies Record<string, (credentials: Credentials) => Waiter>;

export type WaiterName = keyof typeof waiters;

/** Those that take an exclusive lock over HTTP. */
export const waiterNames = (Object.keys(waiters) as WaiterName[]).filter(
  (name) => name !== "redis-semaphore over TCP",
);

/** Whether it is this library. */
export function isOurs(name: WaiterName): boolean {
  return name.startsWith("serverless-lock");
}

function ours(options: Parameters<typeof createLocker>[0]): Waiter {
  const locker = createLocker({ ...options, ttl, wait: patience });
  return (key, work) => locker.withLock(key, work);
}

/** Asks every 100 ms, its default; only the number of attempts is raised, from 3. */
function upstashLock(credentials: Credentials): Waiter {
  const redis = new Redis(credentials);
  return async (target, work) => {
    const id = keyOf(target);
    // Its types name the CommonJS build of the same class.
    const lock = new Lock({
      id,
      redis: redis as never,
      lease: ttl,
      retry: { attempts: patience / 100, delay: 100 },
    });
    if (!(await lock.acquire())) throw new Error("@upstash/lock gave up");
    await work();
    if (!(await lock.release())) throw new Error("@upstash/lock had lost the lock");
  };
}

const compareAndDelete = `if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end
return 0`;

/** What one writes by hand: SET NX again and again, after a pause of up to 25 ms, 50 ms, … 1 s (full jitter). */
function polling({ url, token }: Credentials): Waiter {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  async function send(...command: (string | number)[]): Promise<unknown> {
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(command) });
    return ((await response.json()) as { result: unknown }).result;
  }
  return async (target, work) => {
    const key = keyOf(target);
    const value = crypto.randomUUID();
    for (let tries = 0; (await send("SET", key, value, "NX", "PX", ttl)) !== "OK"; tries++) {
      const pause = Math.random() * Math.min(1_000, 25 * 2 ** tries);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    await work();
    if ((await send("EVAL", compareAndDelete, 1, key, value)) !== 1)
      throw new Error("the lock had been lost");
  };
}

/** What is used here of a package that is not among the root's. */
interface Semaphore {
  acquire(): Promise<void>;
  release(): Promise<void>;
}
interface Tcp {
  on(event: "error", listener: () => void): unknown;
}
interface Semaphores {
  Semaphore: new (redis: unknown, key: string, limit: number, options: object) => Semaphore;
}

/** Its Semaphore, asking every 10 ms, its default. It needs "npm ci --prefix test/storm". */
function redisSemaphore({ url }: Credentials): Waiter {
  const require = createRequire(new URL("../../test/storm/package.json", import.meta.url));
  // Not among the packages of the root.
  const module = "redis-semaphore";
  const { Semaphore } = require(module) as Semaphores;
  const { Redis: Tcp } = require("ioredis") as { Redis: new (url: string, options: object) => Tcp };
  const redis = new Tcp(url, { retryStrategy: () => null });
  // Its Redis goes when the round trip changes.
  redis.on("error", () => {});
  return async (target, work) => {
    const { limit = 1 } = target as { limit?: number };
    const options = { lockTimeout: ttl, acquireTimeout: patience };
    const semaphore = new Semaphore(redis, keyOf(target), limit, options);
    await semaphore.acquire();
    await work();
    await semaphore.release();
  };
}

function keyOf(target: Target): string {
  return typeof target === "string" ? target : target.key;
}
