import type { Redis } from "ioredis";
import type { Lock, LockEvent, Locker, LockOptions, Targets } from "../../src/index.ts";
import { decodeState, type Entry as Waiting } from "../../src/protocol/state.ts";

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
export function wait(locker: Locker, key: Targets, options: LockOptions = {}): Waiter {
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

/** All that stand in the queue, in order, also behind another library's lock. */
export async function waitersOf(raw: Redis, key: string): Promise<Waiting[]> {
  const values = await Promise.all([raw.get(`lock:{${key}}`), raw.get(`lock:{${key}}:waiters`)]);
  return values.flatMap((value) => decodeState(value ?? "")?.waiters ?? []);
}

/** Who stands in the queue, in order: the owners they gave. */
export async function queueOf(raw: Redis, key: string): Promise<string[]> {
  return (await waitersOf(raw, key)).map(({ owner }) => owner);
}

/** The channel on which a waiter is told of its grant. */
export function channelOf({ token }: Waiting): string {
  return `sl:${token.slice(0, 18)}`;
}

/** Who has a lock that others wait for, and ms left of its lease. */
export async function holderOf(
  raw: Redis,
  key: string,
): Promise<{ owner: string; left: number } | undefined> {
  const [value, time] = await Promise.all([raw.get(`lock:{${key}}`), raw.time()]);
  const [holder] = decodeState(value ?? "")?.holders ?? [];
  return (
    holder && { owner: holder.owner, left: holder.until - Number(time[0]) * 1000 - Number(time[1]) / 1000 }
  );
}

/** Resolves once the stream of everyone in the queue is open. */
export async function listening(raw: Redis, key: string): Promise<void> {
  const channels = (await waitersOf(raw, key)).map(channelOf);
  await until(async () => {
    const counts = (await raw.pubsub("NUMSUB", ...channels)) as (string | number)[];
    return counts.every((count, i) => i % 2 === 0 || Number(count) > 0);
  });
}
