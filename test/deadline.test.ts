import { expect, test, vi } from "vitest";
import { lockHandler } from "../src/adapters/lambda.ts";
import { inspect } from "../src/admin/index.ts";
import type { LockOptions, Targets } from "../src/index.ts";
import { memoryLocker } from "../src/testing/index.ts";
import { until } from "./helpers/waiter.ts";

test("a deadline caps the lease and the wait", async () => {
  const locker = memoryLocker();
  const lock = await locker.acquire("k", { ttl: "1h", deadline: 500 });
  expect(lock.remaining).toBeLessThanOrEqual(500);
  const error = await locker.acquire("k", { wait: "1h", deadline: () => 300 }).catch((error) => error);
  expect(error).toMatchObject({ code: "LOCK_BUSY" });
  expect(error.waited).toBeLessThan(60_000);
  await lock.release();
});

test("neither an extension nor a downgrade asks for a lease past the deadline", async () => {
  const lock = await memoryLocker().acquire("k", { ttl: 200, deadline: 5000 });
  expect(await lock.extend("1h")).toBe(true);
  expect(lock.remaining).toBeGreaterThan(1000);
  expect(lock.remaining).toBeLessThanOrEqual(5001);
  expect(await lock.downgrade()).toBe(true);
  expect(lock.remaining).toBeLessThanOrEqual(5001);
});

test("no lease is renewed past a deadline, which is asked for each time", async () => {
  let left = 10_000;
  const renewed: number[] = [];
  const locker = memoryLocker({
    ttl: 150,
    renew: true,
    onEvent: ({ type }) => type === "renewed" && renewed.push(left),
  });
  const lock = await locker.acquire("k", { deadline: () => left });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(renewed.length).toBeGreaterThan(0);
  left = 0;
  await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
  expect(renewed.filter((at) => at === 0)).toEqual([]);
});

test("a deadline that does not know, or throws, is no limit", async () => {
  const unknown = () => undefined as never;
  const failing = () => {
    throw new Error("no time");
  };
  for (const deadline of [unknown, failing]) {
    const lock = await memoryLocker().acquire("k", { deadline });
    expect(lock.remaining).toBeGreaterThan(9000);
  }
});

test.each([-1, "5s", NaN, {}])("what is no deadline is refused: %s", async (deadline) => {
  await expect(memoryLocker().acquire("k", { deadline: deadline as never })).rejects.toMatchObject({
    option: "deadline",
  });
});

test.each([NaN, "5s", null, new Date(), Promise.resolve(5)])(
  "so is one that tells no time, before any request: %s",
  async (told) => {
    const locker = memoryLocker();
    const onEvent = vi.fn();
    const deadline = () => told as never;
    const handler = lockHandler({ locker, key: "k", deadline, onEvent }, async () => "ran");
    for (const taken of [locker.acquire("k", { deadline, onEvent }), handler({}, {} as never)])
      await expect(taken).rejects.toMatchObject({ option: "deadline" });
    expect(onEvent).not.toHaveBeenCalled();
  },
);

test("one that tells no time once the lock is held leaves the lock alone", async () => {
  let told: unknown = 60_000;
  const lock = await memoryLocker().acquire("k", { deadline: () => told as number });
  told = "soon";
  expect(await lock.extend()).toBe(true);
});

test("a waitUntil that throws or rejects changes nothing", async () => {
  const locker = memoryLocker();
  for (const waitUntil of [
    () => {
      throw new Error("too late");
    },
    () => Promise.reject(new Error("too late")),
  ]) {
    const stop = new AbortController();
    const holder = await locker.acquire("k");
    const waiting = locker.acquire("k", { wait: "1h", waitUntil, signal: stop.signal });
    stop.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await holder.release();
  }
});

test("a deadline that throws is no limit, nor ends the process when a renewal asks for it", async () => {
  let renewals = 0;
  const locker = memoryLocker({ ttl: 100, onEvent: ({ type }) => type === "renewed" && renewals++ });
  const deadline = () => {
    throw new Error("not implemented");
  };
  const lock = await locker.acquire("k", { renew: true, deadline });
  while (renewals < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(await lock.release()).toBe(true);
});

test.each<[string, Targets, LockOptions]>([
  ["an exclusive lock", "k", {}],
  ["a permit", { key: "k", limit: 1 }, {}],
  ["several locks", ["a", "k"], { renew: true }],
  ["a lock with a fencing token", "k", { fencing: true }],
])("the lease of %s that was waited for ends by the deadline", async (_, target, options) => {
  let leaseTaken = false;
  const locker = memoryLocker({
    ttl: "1m",
    onEvent(event) {
      // Under a grant the work starts at once; the lease is taken beside it.
      leaseTaken ||= event.type === "renewed" || (event.type === "acquired" && !event.granted);
    },
  });
  const holder = await locker.acquire(target);
  leaseTaken = false;
  let left = 60_000;
  const waiting = locker.acquire(target, { ...options, wait: "5s", deadline: () => left });
  await until(async () => (await inspect(locker, "k")).waiters.length > 0 || Array.isArray(target));
  left = 5000;
  await holder.release();
  const lock = await waiting;
  await until(() => leaseTaken);
  for (const key of lock.keys) {
    const [holder] = (await inspect(locker, key)).holders;
    expect(holder?.remaining).toBeLessThanOrEqual(5100);
  }
  await lock.release();
});
