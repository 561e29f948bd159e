import type { Redis } from "ioredis";
import type { Lock, LockEvent, Locker, LockOptions } from "../../src/index.ts";

/** Someone who waits for a lock. */
export interface Waiter {
  /** What it was told so far. */
  events: LockEvent[];
  /** Its place when it first stood in the queue; rejects where it never did. */
  standing: Promise<number>;
  /** Settles as `acquire` does. */
  lock: Promise<Lock>;
  /** Why there was no lock; rejects where there was one. */
  // biome-ignore lint/suspicious/noExplicitAny: what it is, is for the test to say
  failure: Promise<any>;
}

/** Starts to wait, by default longer than any test lasts. */
export function wait(locker: Locker, key: string, options: LockOptions = {}): Waiter {
  const events: LockEvent[] = [];
  const stands = Promise.withResolvers<number>();
  const lock = locker.acquire(key, {
    wait: "1h",
    ...options,
    onEvent(event) {
      events.push(event);
      if (event.type === "waiting") stands.resolve(event.place);
    },
  });
  const failure = lock.then(
    () => Promise.reject(new Error("the lock was acquired")),
    (error) => error,
  );
  failure.catch(() => {});
  lock.then(() => stands.reject(new Error("it got the lock at once")), stands.reject);
  stands.promise.catch(() => {});
  return { events, standing: stands.promise, lock, failure };
}

/** What it was told when it got the lock. */
export function acquired({ events }: Waiter): Extract<LockEvent, { type: "acquired" }> | undefined {
  return events.find((event) => event.type === "acquired");
}

/** Resolves to what `check` gives, once that is something. The test's own limit ends it. */
export async function until<T>(check: () => T | Promise<T>): Promise<T> {
  for (;;) {
    const result = await check();
    if (result) return result;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Resolves once no key of the lock is left but its fencing counter. */
export async function vanished(raw: Redis, key: string): Promise<void> {
  await until(async () => (await raw.keys(`lock:{${key}}*`)).every((name) => name.endsWith(":fence")));
}

/** Who stands in the queue, in order: the owners they gave. */
export async function queueOf(raw: Redis, key: string): Promise<string[]> {
  const members = await raw.zrange(`lock:{${key}}:queue`, 0, -1);
  return members.map((member) => member.split(":").slice(2).join(":"));
}

/** Resolves once the stream of everyone in the queue is open. */
export async function listening(raw: Redis, key: string): Promise<void> {
  const members = await raw.zrange(`lock:{${key}}:queue`, 0, -1);
  const channels = members.map((member) => `sl:${member.slice(0, 18)}`);
  await until(async () => {
    const counts = (await raw.pubsub("NUMSUB", ...channels)) as (string | number)[];
    return counts.every((count, i) => i % 2 === 0 || Number(count) > 0);
  });
}
