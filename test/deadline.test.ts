import { expect, test } from "vitest";
import { memoryLocker } from "../src/testing/index.ts";

test("a deadline caps the lease and the wait", async () => {
  const locker = memoryLocker();
  const lock = await locker.acquire("k", { ttl: "1h", deadline: 500 });
  expect(lock.remaining).toBeLessThanOrEqual(500);
  const error = await locker.acquire("k", { wait: "1h", deadline: () => 300 }).catch((error) => error);
  expect(error).toMatchObject({ code: "LOCK_BUSY" });
  expect(error.waited).toBeLessThan(60_000);
  await lock.release();
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

test.each([undefined, NaN, "soon"])("a deadline that does not know is no limit: %s", async (unknown) => {
  const lock = await memoryLocker().acquire("k", { deadline: () => unknown as never });
  expect(lock.remaining).toBeGreaterThan(9000);
});

test.each([-1, "5s", NaN, {}])("what is no deadline is refused: %s", async (deadline) => {
  await expect(memoryLocker().acquire("k", { deadline: deadline as never })).rejects.toMatchObject({
    option: "deadline",
  });
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
