import { expect, test, vi } from "vitest";
import { createLocker, type LockerOptions, LockLostError } from "../src/index.ts";
import { memoryLocker } from "../src/testing/index.ts";

const locker = () => createLocker({ url: "http://127.0.0.1:9", token: "t", ttl: "5s", renew: true });

test("a locker shows its defaults, checked, which nobody can change", () => {
  const { options } = locker();
  expect(options).toMatchObject({ ttl: 5000, renew: Infinity, wait: 0, prefix: "lock:", onLost: "throw" });
  expect(Object.keys(options)).not.toContain("token");
  expect(Object.isFrozen(options)).toBe(true);
});

test("what a locker shows as its options makes another one like it", () => {
  const all: LockerOptions[] = [{}, { renew: true }, { renew: false }, { renew: "5m" }, { wait: "1s" }];
  for (const given of all) {
    const { options } = createLocker(given);
    expect(createLocker(options).options).toEqual(options);
  }
});

test("a locker's members are its own, and need no `this`: a spread one is a locker", async () => {
  expect(Object.keys(locker()).sort()).toEqual([
    "acquire",
    "options",
    "resume",
    "run",
    "tryAcquire",
    "withLock",
  ]);
  const { acquire, tryAcquire, withLock, resume } = { ...memoryLocker() };
  const lock = await acquire("k");
  expect(await tryAcquire("k")).toBe(null);
  expect(await resume(JSON.stringify(lock)).release()).toBe(true);
  expect(await withLock("k", ({ key }) => key)).toBe("k");
});

test("withLock tells a loss that only the release finds, also of a lock that its work released", async () => {
  const inner = memoryLocker();
  const lose = (lock: object) => inner.resume(JSON.stringify(lock)).release();
  await expect(inner.withLock("k", lose)).rejects.toBeInstanceOf(LockLostError);
  const loseAndRelease = async (lock: { release(): Promise<boolean> }) => {
    await lose(lock);
    expect(await lock.release()).toBe(false);
  };
  await expect(inner.withLock("k", loseAndRelease)).rejects.toBeInstanceOf(LockLostError);
  expect(await inner.withLock("k", { onLost: "ignore" }, () => "done")).toBe("done");
});

test("withLock without a lock, since Redis could not be asked, lost none", async () => {
  const onEvent = vi.fn();
  const options = { ifUnavailable: "proceed", requestTimeout: 50, onEvent } as const;
  expect(await locker().withLock("k", options, ({ held }) => held)).toBe(false);
  expect(onEvent).toHaveBeenCalledWith(expect.objectContaining({ type: "unavailable" }));
});

test("`run` gives an operation the locker's settings and its way to Redis", async () => {
  const locker = memoryLocker({ prefix: "mine:" });
  const lock = await locker.acquire("order", { owner: "the holder" });
  const value = await locker.run(({ settings, redisKey, ask }) => {
    expect(settings.prefix).toBe("mine:");
    return ask("order", ["GET", redisKey("order")]);
  });
  expect(value).toContain("the holder");
  const nowhere = createLocker({ url: "http://127.0.0.1:9", token: "a-token", requestTimeout: 50 });
  const asking = nowhere.run(({ ask }) => ask("order", ["GET", "order"]));
  await expect(asking).rejects.toMatchObject({ code: "LOCK_UNAVAILABLE", key: "order" });
  await lock.release();
});
