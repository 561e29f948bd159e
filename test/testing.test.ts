import { setTimeout as delay } from "node:timers/promises";
import middy from "@middy/core";
import { afterEach, expect, test, vi } from "vitest";
import lockMiddleware from "../src/adapters/middy.ts";
import { LockBusyError, LockLostError, LockOptionError } from "../src/index.ts";
import { memoryLocker } from "../src/testing/index.ts";

afterEach(() => {
  vi.useRealTimers();
});

test("a lock in memory is held by one, busy for others, extended, released, and not ours after that", async () => {
  const locker = memoryLocker();
  const lock = await locker.acquire("k", { owner: "me" });
  expect(lock.held).toBe(true);
  expect(await locker.tryAcquire("k")).toBe(null);
  await expect(locker.acquire("k")).rejects.toMatchObject({ code: "LOCK_BUSY", owner: "me" });
  expect(await lock.extend("1m")).toBe(true);
  expect(lock.remaining).toBeGreaterThan(50_000);
  expect(await lock.release()).toBe(true);
  expect(await locker.resume(lock.toJSON()).release()).toBe(false);
  expect(await memoryLocker().tryAcquire("k")).not.toBe(null);
});

test("waiters are served one at a time, in their order, by hand-over", async () => {
  let granted = 0;
  let stands = () => {};
  const locker = memoryLocker({
    onEvent: (event) => {
      if (event.type === "acquired" && event.granted) granted++;
      if (event.type === "waiting") stands();
    },
  });
  const order: number[] = [];
  let inside = 0;
  const first = await locker.acquire("k");
  const all: Promise<void>[] = [];
  for (let i = 0; i < 20; i++) {
    const standing = new Promise<void>((resolve) => {
      stands = resolve;
    });
    const waiting = locker.withLock("k", { wait: "1m" }, async () => {
      expect(++inside).toBe(1);
      await delay(2);
      order.push(i);
      inside--;
    });
    all.push(waiting);
    // Those that ask in one moment may stand in another order.
    await standing;
  }
  await first.release();
  await Promise.all(all);
  expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(granted).toBe(20);
});

test("a wait that is over is a LockBusyError with its place, and leaves the queue", async () => {
  const locker = memoryLocker();
  const lock = await locker.acquire("k");
  const error = await locker.acquire("k", { wait: 30 }).catch((error) => error);
  expect(error).toBeInstanceOf(LockBusyError);
  expect(error).toMatchObject({ place: 0 });
  await lock.release();
  expect(await locker.tryAcquire("k")).not.toBe(null);
});

test("fencing tokens rise, and a window is kept with holdFor", async () => {
  const locker = memoryLocker({ fencing: true });
  const first = await locker.withLock("k", ({ fence }) => fence as number);
  expect(await locker.withLock("k", ({ fence }) => fence as number)).toBeGreaterThan(first);
  await locker.withLock("task", { holdFor: "1h" }, () => {});
  expect(await locker.tryAcquire("task")).toBe(null);
});

test("a lease ends under fake timers", async () => {
  vi.useFakeTimers();
  const locker = memoryLocker();
  const lock = await locker.acquire("k", { ttl: "10s" });
  vi.advanceTimersByTime(11_000);
  expect(lock.signal.reason).toBeInstanceOf(LockLostError);
  const next = await locker.tryAcquire("k");
  expect(next?.held).toBe(true);
  expect(await lock.release()).toBe(false);
  expect(await next?.release()).toBe(true);
});

test("adapters take it as their locker", async () => {
  const locker = memoryLocker();
  const handler = middy()
    .use(lockMiddleware({ locker, key: "k" }))
    .handler(async (_event, { lock }) => lock.held);
  expect(await handler({}, {} as never)).toBe(true);
});

test("a wrong option is refused", () => {
  expect(() => memoryLocker({ ttl: "soon" as never })).toThrow(LockOptionError);
});
