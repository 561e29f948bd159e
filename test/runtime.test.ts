import { getEventListeners } from "node:events";
import { expect, test, vi } from "vitest";
import { realRuntime, whenAborted } from "../src/runtime.ts";
import { memoryLocker } from "../src/testing/index.ts";

test("a token is drawn anew each time, not from a cache that a snapshot of a process would copy", () => {
  const cached = vi.spyOn(crypto, "randomUUID");
  const drawn = vi.spyOn(crypto, "getRandomValues");
  const tokens = Array.from({ length: 100 }, () => realRuntime.token());
  expect(new Set(tokens).size).toBe(100);
  for (const token of tokens) expect(token).toMatch(/^[0-9a-f]{32}$/);
  expect(cached).not.toHaveBeenCalled();
  expect(drawn).toHaveBeenCalledTimes(100);
  vi.restoreAllMocks();
});

test("many locks under one signal put one listener there, and leave none", async () => {
  const { signal } = new AbortController();
  const locker = memoryLocker({ signal });
  const locks = await Promise.all(Array.from({ length: 30 }, (_, i) => locker.acquire(`k${i}`)));
  expect(getEventListeners(signal, "abort")).toHaveLength(1);
  await Promise.all(locks.map((lock) => lock.release()));
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});

test("a resumed handle that is dropped leaves no listener, and one that is held heeds the signal", async () => {
  const stop = new AbortController();
  const locker = memoryLocker();
  const handle = JSON.stringify(await locker.acquire("k"));
  for (let i = 0; i < 20; i++) locker.resume(handle, { signal: stop.signal });
  expect(getEventListeners(stop.signal, "abort")).toHaveLength(0);
  const resumed = locker.resume(handle, { signal: stop.signal });
  expect(await resumed.extend()).toBe(true);
  stop.abort(new Error("shutdown"));
  expect(resumed.signal.reason).toMatchObject({ message: "shutdown" });
});

test("who no longer waits for a signal is not told, and the others are", () => {
  const stop = new AbortController();
  const told: string[] = [];
  const forget = whenAborted(stop.signal, () => told.push("a"));
  whenAborted(stop.signal, () => told.push("b"));
  forget();
  forget();
  stop.abort();
  whenAborted(stop.signal, () => told.push("late"));
  expect(told).toEqual(["b", "late"]);
});
