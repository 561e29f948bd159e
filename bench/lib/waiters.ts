import { Lock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { createLocker } from "serverless-lock";
import type { Credentials } from "./contenders.ts";

/** One way to wait for a lock, work under it and let it go. Rejects when the lock was not held to the end. */
type Waiter = (key: string, work: () => Promise<void>) => Promise<void>;

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
} as const satisfies Record<string, (credentials: Credentials) => Waiter>;

export type WaiterName = keyof typeof waiters;

export const waiterNames = Object.keys(waiters) as WaiterName[];

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
  return async (id, work) => {
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
  return async (key, work) => {
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
