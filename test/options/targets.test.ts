import { describe, expect, test } from "vitest";
import { createLocker, LockOptionError, type Targets } from "../../src/index.ts";
import { readTargets } from "../../src/options/targets.ts";
import { memoryLocker } from "../../src/testing/index.ts";

// Nothing listens there: were a request sent, the error would be another.
const locker = createLocker({ url: "http://127.0.0.1:9", token: "a-token" });

describe("a wrong target is refused before any request, naming the option, what came and what fits", () => {
  const wrong: [option: string, target: unknown, given: RegExp, fits: RegExp][] = [
    ["key", [], /got 0 targets/, /1 to 16/],
    ["key", Array.from({ length: 17 }, (_, i) => `key-${i}`), /got 17 targets/, /1 to 16/],
    ["key", ["a", { key: "a", limit: 2 }], /"a" twice/, /each key once/],
    [
      "key",
      [
        { key: "a", limit: 3 },
        { key: "a", limit: 2 },
      ],
      /"a" twice/,
      /each key once/,
    ],
    ["key", new Array(2), /got undefined/, /1 to 1024/],
    ["key", ["a", ["b"]], /got some object/, /1 to 1024/],
    ["key", new Set(["a"]), /got some object/, /1 to 1024/],
    ["key", Promise.resolve("a"), /got some object/, /1 to 1024/],
    ["key", { limit: 2 }, /got undefined/, /1 to 1024/],
    ["key", { key: 7 }, /got 7/, /1 to 1024/],
    ["key", ["order:42", "order:undefined"], /order:undefined/, /without undefined/],
    ["key", null, /got null/, /1 to 1024/],
    ["limit", { key: "a", limit: 0 }, /got 0/, /1 to 100000/],
    ["limit", { key: "a", limit: 1.5 }, /got 1.5/, /whole number/],
    ["limit", { key: "a", limit: "5" }, /got "5"/, /whole number/],
    ["limit", { key: "a", limit: 100_001 }, /got 100001/, /1 to 100000/],
    ["limit", { key: "a", limit: null }, /got null/, /whole number/],
    ["limit", { key: "a", limit: Number.NaN }, /got NaN/, /whole number/],
    ["weight", { key: "a", limit: 2, weight: 3 }, /got 3/, /1 to the limit \(2\)/],
    ["weight", { key: "a", limit: 2, weight: 0 }, /got 0/, /1 to the limit \(2\)/],
    ["weight", { key: "a", weight: 1 }, /got 1/, /none without a limit/],
    ["weight", { key: "a", mode: "shared", weight: 2 }, /got 2/, /none without a limit/],
    ["mode", { key: "a", mode: "read" }, /got "read"/, /"exclusive" or "shared"/],
    ["mode", { key: "a", mode: "shared", limit: 2 }, /got "shared"/, /none with a limit/],
    ["mode", { key: "a", mode: "exclusive", limit: 1 }, /got "exclusive"/, /none with a limit/],
    ["holdFor", { key: "a", holdFor: "a while" }, /got "a while"/, /0 to 31d/],
    ["ttl", { key: "a", ttl: "5s" }, /unknown option/, /key, mode, limit, weight, holdFor/],
    ["limits", { key: "a", limits: 5 }, /unknown option/, /key, mode, limit, weight, holdFor/],
  ];
  test.each(wrong)("%s of %j", async (option, target, given, fits) => {
    for (const ask of [
      () => locker.acquire(target as Targets),
      () => locker.tryAcquire(target as Targets),
      () => locker.withLock(target as Targets, () => {}),
    ]) {
      const error = await ask().catch((error) => error);
      expect(error).toBeInstanceOf(LockOptionError);
      expect(error).toMatchObject({ option });
      expect(error.message).toMatch(given);
      expect(error.message).toMatch(fits);
    }
  });

  test.each([[{ key: "a", mode: "shared" }], [{ key: "a", limit: 2 }], [["a", { key: "b", limit: 2 }]]])(
    "fencing of %j",
    async (target) => {
      const error = await locker.acquire(target as Targets, { fencing: true }).catch((error) => error);
      expect(error).toMatchObject({ code: "LOCK_OPTION", option: "fencing" });
    },
  );
});

test("what is left out of a target has its default", () => {
  const wanted = readTargets(["a", { key: "b" }, { key: "c", mode: undefined, limit: 5, weight: undefined }]);
  expect(wanted.map(({ key, mode, weight }) => [key, mode, weight])).toEqual([
    ["a", "x", 1],
    ["b", "x", 1],
    ["c", "5", 1],
  ]);
});

test("a limit of one may have a fencing token", async () => {
  const lock = await memoryLocker().acquire({ key: "one", limit: 1 }, { fencing: true });
  expect(lock.fence).toBeGreaterThan(0);
});

describe("a handle of targets", () => {
  const taken = () =>
    memoryLocker().acquire(["a", { key: "b", limit: 3, weight: 2 }, { key: "c", mode: "shared" }]);

  test("says what is locked, and shows no token when it is logged", async () => {
    const lock = await taken();
    const handle = lock.toJSON();
    expect(handle.targets).toMatchObject([
      { key: "a" },
      { key: "b", limit: 3, weight: 2 },
      { key: "c", mode: "shared" },
    ]);
    const { inspect } = await import("node:util");
    for (const { token } of handle.targets ?? []) {
      expect(inspect(lock, { depth: 9 })).not.toContain(token);
      expect(inspect(handle, { depth: 9 })).not.toContain(token);
    }
  });

  test("may come from a store that writes null for what is not there", async () => {
    const locker = memoryLocker();
    const lock = await locker.acquire(["a", { key: "b", limit: 3, weight: 2 }, { key: "c", mode: "shared" }]);
    const handle = JSON.parse(JSON.stringify(lock));
    const absent = { mode: null, limit: null, weight: null };
    const targets = handle.targets.map((target: object) => ({ ...absent, ...target }));
    expect(await locker.resume({ ...handle, targets }).extend()).toBe(true);
  });

  test.each([
    ["a token that is none", { token: "x" }],
    ["a limit that is none", { limit: -1 }],
    ["a mode that is none", { mode: "read" }],
    ["a window that is none", { holdFor: "soon" }],
    ["a key made of nothing", { key: "a:undefined" }],
    ["what no target has", { ttl: 5 }],
  ])("is refused with %s", async (_, change) => {
    const handle = JSON.parse(JSON.stringify(await taken()));
    Object.assign(handle.targets[0], change);
    expect(() => locker.resume(handle)).toThrow(LockOptionError);
    expect(() => locker.resume(JSON.stringify({ ...handle, targets: [] }))).toThrow(LockOptionError);
    expect(() => locker.resume({ ...handle, targets: "all" })).toThrow(LockOptionError);
  });
});
