import { setTimeout as delay } from "node:timers/promises";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inspect } from "../../src/admin/index.ts";
import {
  createLocker,
  LockBusyError,
  type LockEvent,
  type Locker,
  LockLostError,
  LockOptionError,
  LockUnavailableError,
} from "../../src/index.ts";
import {
  forget,
  ResultMismatchError,
  type SingleFlightOptions,
  singleFlight,
} from "../../src/single-flight/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { type Backend, backends, freshKey } from "../helpers/backends.ts";
import { memoryEngine } from "../helpers/memory-backend.ts";
import { queueOf, until } from "../helpers/waiter.ts";

/** Work that goes on until it is told what comes of it. */
function pendingWork<T>() {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const started = Promise.withResolvers<void>();
  let runs = 0;
  const work = () => {
    runs++;
    started.resolve();
    return promise;
  };
  return { work, resolve, reject, started: started.promise, runs: () => runs };
}

describe.each([...backends, memoryEngine()])("through $client on $engine", ({ missing, start, connect }) => {
  describe.skipIf(missing)("singleFlight", () => {
    let backend: Backend;
    let locker: Locker;
    beforeAll(async () => {
      backend = await start();
      locker = createLocker(connect(backend.server));
    });
    afterAll(() => backend?.close());

    const standing = (key: string, count: number) =>
      until(async () => (await queueOf(backend.raw, key)).length === count);
    const keysOf = (key: string) => backend.raw.keys(`lock:{${key}}*`);

    test("runs the work once: who comes meanwhile and who comes within keepFor get its result", async () => {
      const key = freshKey();
      const { work, resolve, started, runs } = pendingWork<object>();
      const fly = () => singleFlight(locker, key, { keepFor: "1m" }, work);
      const first = fly();
      await started;
      const others = Array.from({ length: 5 }, fly);
      await standing(key, 5);
      const result = { token: "ä 🦀 \u2028\n", list: [1, null, { a: "," }] };
      resolve(result);
      expect(await Promise.all([first, ...others, fly()])).toEqual(Array(7).fill(result));
      expect(runs()).toBe(1);
      expect(await keysOf(key)).toEqual([`lock:{${key}}:result`]);
      await forget(locker, key);
      expect(await keysOf(key)).toEqual([]);
      await fly();
      expect(runs()).toBe(2);
      await forget(locker, key);
    });

    test("its lock is an exclusive one, to whoever looks: events, handles, inspect", async () => {
      const key = freshKey();
      const events: LockEvent[] = [];
      const onEvent = (event: LockEvent) => events.push(event);
      const { work, resolve, started } = pendingWork<void>();
      const first = singleFlight(locker, key, { keepFor: 0, onEvent }, async (lock) => {
        expect(await locker.resume(JSON.stringify(lock)).extend()).toBe(true);
        await work();
      });
      await started;
      const second = singleFlight(locker, key, { keepFor: 0, onEvent }, work);
      await standing(key, 1);
      const { holders, waiters } = await inspect(locker, key);
      for (const each of [...holders, ...waiters]) expect(each).toMatchObject({ mode: "exclusive" });
      resolve();
      await Promise.all([first, second]);
      expect(new Set(events.map(({ mode }) => mode))).toEqual(new Set(["exclusive"]));
    });

    test("a result too long for a message is fetched", async () => {
      const key = freshKey();
      const { work, resolve, started, runs } = pendingWork<string>();
      const fly = () => singleFlight(locker, key, { keepFor: 0 }, work);
      const first = fly();
      await started;
      const second = fly();
      await standing(key, 1);
      resolve("x".repeat(20_000));
      expect(await Promise.all([first, second])).toEqual(Array(2).fill("x".repeat(20_000)));
      expect(runs()).toBe(1);
    });

    test("with keepFor 0 those who wait get the result, and a newcomer runs", async () => {
      const key = freshKey();
      const { work, resolve, started, runs } = pendingWork<number>();
      const fly = () => singleFlight(locker, key, { keepFor: 0 }, work);
      const first = fly();
      await started;
      const second = fly();
      await standing(key, 1);
      resolve(42);
      expect(await Promise.all([first, second])).toEqual([42, 42]);
      expect(runs()).toBe(1);
      expect(await fly()).toBe(42);
      expect(runs()).toBe(2);
    });

    test("an error of the work is its caller's alone: nothing is kept, and the next in line runs", async () => {
      const key = freshKey();
      const { work, reject, started } = pendingWork<string>();
      const first = singleFlight(locker, key, { keepFor: "1m" }, work);
      first.catch(() => {});
      await started;
      const second = singleFlight(locker, key, { keepFor: "1m" }, async () => "of the second");
      await standing(key, 1);
      reject(new Error("no luck"));
      await expect(first).rejects.toThrow("no luck");
      expect(await second).toBe("of the second");
      await forget(locker, key);
      expect(await keysOf(key)).toEqual([]);
    });

    test("others that wait for the lock itself keep their place", async () => {
      const key = freshKey();
      const { work, resolve, started } = pendingWork<string>();
      const first = singleFlight(locker, key, { keepFor: 0 }, work);
      await started;
      const second = singleFlight(locker, key, { keepFor: 0 }, work);
      await standing(key, 1);
      const lock = locker.acquire(key, { wait: "1m" });
      await standing(key, 2);
      const third = singleFlight(locker, key, { keepFor: 0 }, work);
      await standing(key, 3);
      resolve("done");
      expect(await Promise.all([first, second, third])).toEqual(Array(3).fill("done"));
      expect(await (await lock).release()).toBe(true);
    });

    test("with a fencing token the result is stored under it, and no later one", async () => {
      const key = freshKey();
      const fences: (number | undefined)[] = [];
      const fly = (work: () => Promise<unknown>) =>
        singleFlight(locker, key, { keepFor: "1m", fencing: true }, (lock) => {
          fences.push(lock.fence);
          return work();
        });
      await expect(
        fly(async () => {
          // A server that came back from an older state knows the holder, and not the lock's later one.
          await backend.raw.set(`lock:{${key}}:fence`, `${Date.now() + 3_600_000}`, "PX", 60_000);
        }),
      ).rejects.toThrow(LockLostError);
      expect(fences).toEqual([expect.any(Number)]);
      expect(await backend.raw.get(`lock:{${key}}:result`)).toBe(null);
      await backend.raw.del(`lock:{${key}}:fence`, `lock:{${key}}`);
    });

    test("a holder that lost its lock stores nothing, and is told", async () => {
      const key = freshKey();
      const flight = singleFlight(locker, key, { keepFor: "1m" }, async () => {
        await backend.raw.del(`lock:{${key}}`);
        return "stale";
      });
      await expect(flight).rejects.toThrow(LockLostError);
      expect(await keysOf(key)).toEqual([]);
    });

    test("tells who waited in vain that another is at work", async () => {
      const key = freshKey();
      const { work, resolve, started } = pendingWork<string>();
      const first = singleFlight(locker, key, { keepFor: 0 }, work);
      await started;
      await expect(singleFlight(locker, key, { keepFor: 0, wait: 0 }, work)).rejects.toThrow(LockBusyError);
      await expect(singleFlight(locker, key, { keepFor: 0, wait: 30 }, work)).rejects.toThrow(LockBusyError);
      resolve("done");
      await first;
      expect(await keysOf(key)).toEqual([]);
    });

    test("refuses the result of another input, and none of the same", async () => {
      const key = freshKey();
      const fly = (fingerprint: unknown) =>
        singleFlight(locker, key, { keepFor: "1m", fingerprint }, async () => "done");
      expect(await fly({ a: 1, b: [2] })).toBe("done");
      expect(await fly({ b: [2], a: 1 })).toBe("done");
      expect(await fly(undefined)).toBe("done");
      const error = await fly({ a: 1, b: [3] }).catch((error) => error);
      expect(error).toBeInstanceOf(ResultMismatchError);
      expect(error).toMatchObject({ code: "LOCK_RESULT_MISMATCH", statusCode: 422, key });
      await forget(locker, key);
    });
  });
});

describe("singleFlight", () => {
  const locker = memoryLocker();
  const keepFor = "1m";

  test.each([
    ["undefined", undefined],
    ["null", null],
    ["an empty text", ""],
    ["a text of JSON", '{"a":1}'],
    ["half an emoji", "\ud800"],
    ["a number", 0.1],
    ["false", false],
    ["a deep object", { a: [{ b: {} }, []] }],
    ["a property that is undefined", { a: [{ b: undefined, c: 1 }] }],
    ["an object of another realm, as fetch makes in Jest,", runInNewContext("({ a: [{ b: 1 }] })")],
  ])("gives others %s as it was", async (_, value) => {
    const key = freshKey();
    const fly = () => singleFlight(locker, key, { keepFor }, async () => value);
    expect([await fly(), await fly()]).toEqual([value, value]);
  });

  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  test.each([
    ["a Date", { at: new Date() }, "an instance of Date at the result.at"],
    ["a Map", [new Map()], "an instance of Map at the result[0]"],
    ["NaN", NaN, "NaN at the result"],
    ["a bigint", 1n, "a bigint at the result"],
    ["a function", { f() {} }, "a function at the result.f"],
    ["undefined in a list", [undefined], "undefined at the result[0]"],
    ["a cycle", cycle, "a cycle at the result.self"],
    ["an instance of a class", new (class Order {})(), "an instance of Order at the result"],
  ])("refuses %s as a result, and keeps nothing", async (_, value, given) => {
    const key = freshKey();
    const flight = singleFlight(locker, key, { keepFor }, async () => value);
    await expect(flight).rejects.toThrow(new LockOptionError("result", given, "what JSON can say"));
    expect(await singleFlight(locker, key, { keepFor, wait: 0 }, async () => "the next")).toBe("the next");
  });

  test("hands a result that is too long to its own caller, tells of it, and lets the next one run", async () => {
    const key = freshKey();
    const errors: Error[] = [];
    let runs = 0;
    const options = { keepFor, maxBytes: 100, onError: (error: Error) => errors.push(error) } as const;
    const fly = () => singleFlight(locker, key, options, async () => `${++runs}${"x".repeat(200)}`);
    expect([(await fly())[0], (await fly())[0]]).toEqual(["1", "2"]);
    expect(errors.map(({ message }) => message)).toEqual(
      Array(2).fill("result: got 203 bytes, expected at most maxBytes (100)"),
    );
  });

  test("maxBytes is that of the result's JSON, whatever stands beside it", async () => {
    const errors: Error[] = [];
    const options = { maxBytes: 10, fingerprint: "one", onError: (error: Error) => void errors.push(error) };
    const locker = memoryLocker();
    const fly = (key: string, text: string) =>
      singleFlight(locker, key, { keepFor: "1m", ...options }, () => text);
    await fly("a", "8 of 10.");
    expect([await fly("a", "another"), errors]).toEqual(["8 of 10.", []]);
    await fly("b", "9 and two");
    expect([await fly("b", "another"), errors.map(({ message }) => message)]).toEqual([
      "another",
      ["result: got 11 bytes, expected at most maxBytes (10)"],
    ]);
  });

  test("an undefined holdFor is none", async () => {
    const options = { keepFor: "1m", holdFor: undefined } as SingleFlightOptions;
    expect(await singleFlight(memoryLocker(), "a", options, () => "ran")).toBe("ran");
  });

  test("a listener hears the end of every attempt: also of one that got the result of another input", async () => {
    const events: string[] = [];
    const onEvent = ({ type }: LockEvent) => void events.push(type);
    const locker = memoryLocker();
    await singleFlight(locker, "a", { keepFor: "1m", fingerprint: 1 }, () => "ran");
    const other = singleFlight(locker, "a", { keepFor: "1m", fingerprint: 2, onEvent }, () => "ran");
    await expect(other).rejects.toBeInstanceOf(ResultMismatchError);
    expect(events).toEqual(["asked", "replayed"]);
  });

  test("tells a listener that a result was another's", async () => {
    const key = freshKey();
    const seen: string[] = [];
    const onEvent = ({ type }: LockEvent) => seen.push(type);
    const fly = () => singleFlight(locker, key, { keepFor, onEvent }, async () => 1);
    await fly();
    await fly();
    expect(seen).toEqual(["asked", "acquired", "released", "asked", "replayed"]);
  });

  test("runs without the lock and keeps nothing where that is wanted", async () => {
    const options = { keepFor, ifUnavailable: "proceed", requestTimeout: 100 } as const;
    const nowhere = createLocker({ url: "http://127.0.0.1:9", token: "none" });
    expect(await singleFlight(nowhere, freshKey(), options, async (lock) => lock.held)).toBe(false);
    const flight = singleFlight(nowhere, freshKey(), { keepFor, requestTimeout: 100 }, async () => "done");
    await expect(flight).rejects.toThrow(LockUnavailableError);
  });

  test("renews the lock while the work goes on", async () => {
    const held = await singleFlight(locker, freshKey(), { keepFor, ttl: 60 }, async (lock) => {
      await delay(200);
      return lock.held;
    });
    expect(held).toBe(true);
  });

  test.each<[string, unknown]>([
    ["keepFor", {}],
    ["keepFor", { keepFor: "32d" }],
    ["maxBytes", { keepFor, maxBytes: 0 }],
    ["holdFor", { keepFor, holdFor: "1m" }],
    ["onError", { keepFor, onError: "print" }],
    ["fingerprint", { keepFor, fingerprint() {} }],
    ["surprise", { keepFor, surprise: true }],
  ])("refuses a wrong %s", async (option, options) => {
    const flight = singleFlight(locker, freshKey(), options as SingleFlightOptions, async () => 1);
    await expect(flight).rejects.toMatchObject({ name: "LockOptionError", option });
  });

  test("refuses a locker without `run`", async () => {
    const flight = singleFlight({} as Locker, freshKey(), { keepFor }, async () => 1);
    await expect(flight).rejects.toMatchObject({ option: "locker" });
  });
});
