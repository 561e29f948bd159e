import { Redis } from "@upstash/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inspect, list, pause, release, setLimit, unpause } from "../../src/admin/index.ts";
import { startDevServer } from "../../src/dev/index.ts";
import {
  createLocker,
  type Lock,
  LockBusyError,
  type Locker,
  LockLostError,
  LockOptionError,
  LockUnavailableError,
} from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { type Backend, backends, freshKey } from "../helpers/backends.ts";
import { memoryEngine } from "../helpers/memory-backend.ts";
import { until, wait } from "../helpers/waiter.ts";

const lossOf = (lock: Lock) =>
  new Promise<LockLostError>((resolve) => {
    const tell = () => resolve(lock.signal.reason);
    if (lock.signal.aborted) tell();
    else lock.signal.addEventListener("abort", tell);
  });

describe.each([...backends, memoryEngine()])("through $client on $engine", ({ missing, start, connect }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    let locker: Locker;
    beforeAll(async () => {
      backend = await start();
      locker = createLocker({ ...connect(backend.server), ttl: "1m" });
    });
    afterAll(() => backend?.close());

    const foreign = (key: string) => backend.raw.set(`lock:{${key}}`, "another's", "PX", 60_000, "NX");
    const left = (key: string) => backend.raw.keys(`lock:{${key}}*`);

    describe("inspect", () => {
      test("shows a free lock", async () => {
        const key = freshKey();
        expect(await inspect(locker, key)).toEqual({
          ...{ key, state: "free", limit: undefined, limitBy: undefined, paused: false },
          ...{ holders: [], waiters: [], fence: undefined },
        });
      });

      test("shows who holds an exclusive lock since when, and who waits at which place", async () => {
        const key = freshKey();
        const before = Date.now();
        const lock = await locker.acquire(key, { owner: "charge/eu-1", fencing: true });
        const alone = await inspect(locker, key);
        expect(alone).toMatchObject({ state: "held", fence: lock.fence, waiters: [] });
        const [holder] = alone.holders;
        expect(holder).toMatchObject({ owner: "charge/eu-1", mode: "exclusive", weight: 1, kept: false });
        expect(Math.abs((holder?.since ?? 0) - before)).toBeLessThan(10_000);
        expect(holder?.remaining).toBeGreaterThan(30_000);
        expect(holder?.remaining).toBeLessThanOrEqual(60_000);
        const waiters = [wait(locker, key, { owner: "one" }), wait(locker, key, { owner: "two" })];
        await Promise.all(waiters.map(({ standing }) => standing));
        const crowd = await inspect(locker, key);
        expect(crowd.holders).toMatchObject([{ owner: "charge/eu-1", since: holder?.since }]);
        expect(crowd.waiters.map(({ place }) => place)).toEqual([0, 1]);
        expect(crowd.waiters.map(({ owner }) => owner).sort()).toEqual(["one", "two"]);
        expect(JSON.stringify([alone, crowd])).not.toContain(lock.token.slice(0, 12));
        await lock.release();
        await Promise.all(waiters.map(async ({ lock }) => (await lock).release()));
      });

      test("shows permits with their limit and readers", async () => {
        const [permits, readers] = [freshKey(), freshKey()];
        const some = [
          await locker.acquire({ key: permits, limit: 5, weight: 2 }, { owner: "a" }),
          await locker.acquire({ key: permits, limit: 5 }),
          await locker.acquire({ key: readers, mode: "shared" }),
        ];
        expect(await inspect(locker, permits)).toMatchObject({
          ...{ state: "held", limit: 5, limitBy: "callers" },
          holders: [
            { owner: "a", mode: "permit", limit: 5, weight: 2 },
            { owner: undefined, mode: "permit", weight: 1 },
          ],
        });
        expect(await inspect(locker, readers)).toMatchObject({
          limit: undefined,
          holders: [{ mode: "shared" }],
        });
        for (const lock of some) await lock.release();
      });

      test("shows a lock that holdFor keeps", async () => {
        const key = freshKey();
        await locker.withLock(key, { holdFor: "10m", owner: "tick" }, () => {});
        const [holder] = (await inspect(locker, key)).holders;
        expect(holder).toMatchObject({ owner: "tick", kept: true, ended: false });
        expect(holder?.remaining).toBeGreaterThan(500_000);
      });

      test("shows another library's lock, and who of ours waits behind it", async () => {
        const key = freshKey();
        await foreign(key);
        const waiter = wait(locker, key, { owner: "behind" });
        await waiter.standing;
        expect(await inspect(locker, key)).toMatchObject({
          state: "foreign",
          holders: [{ owner: undefined, since: undefined, remaining: expect.any(Number) }],
          waiters: [{ owner: "behind", place: 0 }],
        });
        await backend.raw.del(`lock:{${key}}`);
        await (await waiter.lock).release();
      });
    });

    describe("release", () => {
      test("of a free lock does nothing", async () => {
        expect(await release(locker, freshKey())).toEqual({ released: false, freeWithin: 0 });
      });

      test("is safe: the holder keeps its lease, its renewal is refused, and the next comes in after it", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key, { ttl: 3000, renew: true });
        const waiter = wait(locker, key);
        await waiter.standing;
        const { released, freeWithin } = await release(locker, key);
        expect(released).toBe(true);
        expect(freeWithin).toBeGreaterThan(0);
        expect(freeWithin).toBeLessThanOrEqual(3000);
        expect(lock.held).toBe(true);
        expect((await inspect(locker, key)).holders).toMatchObject([{ ended: true }]);
        const loss = await lossOf(lock);
        expect(loss).toBeInstanceOf(LockLostError);
        expect(loss).toMatchObject({ code: "LOCK_LOST", message: expect.stringContaining("an operator") });
        const next = await waiter.lock;
        expect([lock.held, next.held]).toEqual([false, true]);
        await next.release();
      });

      test("is safe for a lock that nobody waits for, whose holder may still let go of it earlier", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key);
        await release(locker, key);
        expect(await locker.tryAcquire(key)).toBe(null);
        expect(await lock.extend()).toBe(false);
        expect(lock.signal.reason).toMatchObject({ message: expect.stringContaining("an operator") });
        const other = freshKey();
        const early = await locker.acquire(other);
        await release(locker, other);
        expect(await early.release()).toBe(true);
        const next = await locker.acquire(other);
        expect(next.held).toBe(true);
        await next.release();
      });

      test("ends every permit and every reader, and only them", async () => {
        const key = freshKey();
        const target = { key, limit: 3 };
        const some = [await locker.acquire(target), await locker.acquire(target)];
        await release(locker, key);
        const later = await locker.acquire(target);
        expect(await Promise.all(some.map((lock) => lock.extend()))).toEqual([false, false]);
        expect(await later.extend()).toBe(true);
        expect(await locker.tryAcquire(target)).toBe(null);
        await later.release();
      });

      test("ends a window that holdFor keeps at once", async () => {
        const key = freshKey();
        await locker.withLock(key, { holdFor: "10m" }, () => {});
        expect(await release(locker, key)).toEqual({ released: true, freeWithin: 0 });
        const next = await locker.acquire(key);
        await next.release();
        expect(await locker.tryAcquire(key)).not.toBe(null);
      });

      test("leaves no window of a holder that it ended", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key, { holdFor: "10m" });
        await release(locker, key);
        expect(await lock.release()).toBe(false);
        expect(lock.signal.aborted).toBe(true);
      });

      test("now hands over at once, and the old holder learns by whom it was ended", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key);
        const waiter = wait(locker, key);
        await waiter.standing;
        expect(await release(locker, key, { now: true })).toEqual({ released: true, freeWithin: 0 });
        const next = await waiter.lock;
        expect(await lock.extend()).toBe(false);
        expect(lock.signal.reason).toMatchObject({ message: expect.stringContaining("an operator") });
        expect(await next.extend()).toBe(true);
        await next.release();
      });

      test("whoever was ended learns by whom, whatever the operator did since", async () => {
        const key = freshKey();
        const locks = [];
        for (let i = 0; i < 3; i++) {
          locks.push(await locker.acquire(key));
          await release(locker, key, { now: true });
        }
        await pause(locker, key);
        await unpause(locker, key);
        await setLimit(locker, key, 3);
        await setLimit(locker, key, undefined);
        for (const lock of locks) {
          expect(await lock.extend()).toBe(false);
          expect(lock.signal.reason).toMatchObject({ message: expect.stringContaining("an operator") });
        }
      });

      test("leaves another library's lock alone, but for now: true", async () => {
        const key = freshKey();
        await foreign(key);
        const waiter = wait(locker, key);
        await waiter.standing;
        const refused = await release(locker, key);
        expect(refused).toEqual({ released: false, freeWithin: expect.any(Number) });
        expect(await backend.raw.get(`lock:{${key}}`)).toBe("another's");
        expect(await release(locker, key, { now: true })).toEqual({ released: true, freeWithin: 0 });
        await (await waiter.lock).release();
      });
    });

    describe("setLimit", () => {
      test("counts in place of the callers' limits until it is taken back", async () => {
        const key = freshKey();
        const [five, three] = [
          { key, limit: 5 },
          { key, limit: 3, weight: 3 },
        ];
        await setLimit(locker, key, 2);
        expect(await inspect(locker, key)).toMatchObject({ state: "free", limit: 2, limitBy: "operator" });
        const some = [await locker.acquire(five), await locker.acquire(five)];
        expect(await locker.tryAcquire(five)).toBe(null);
        const heavy = wait(locker, three);
        await heavy.standing;
        await some[0]?.release();
        expect((await inspect(locker, key)).waiters).toHaveLength(1);
        await some[1]?.release();
        await (await heavy.lock).release();
        await setLimit(locker, key, 1);
        const one = await locker.acquire(five);
        const next = wait(locker, five);
        await next.standing;
        await setLimit(locker, key, undefined);
        await (await next.lock).release();
        await one.release();
        expect(await inspect(locker, key)).toMatchObject({ limit: undefined });
        await until(async () => (await left(key)).every((name) => name.includes(":gone:")));
      });

      test("is ignored by exclusive locks and readers", async () => {
        const [key, other] = [freshKey(), freshKey()];
        await setLimit(locker, key, 1);
        await setLimit(locker, other, 1);
        const readers = [1, 2].map(() => locker.acquire({ key, mode: "shared" }));
        for (const lock of await Promise.all(readers)) expect(await lock.release()).toBe(true);
        expect(await (await locker.acquire(other)).release()).toBe(true);
      });

      test.each([0, -1, 1.5, 100_001, "5", Number.NaN, null])("refuses %j", async (limit) => {
        const wrong = setLimit(locker, "order", limit as number);
        await expect(wrong).rejects.toBeInstanceOf(LockOptionError);
      });
    });

    test("what stands in place of an operator's word is written over", async () => {
      const key = freshKey();
      for (const rubbish of ["", "rubbish"]) {
        await backend.raw.set(`lock:{${key}}:operator`, rubbish, "PX", 60_000);
        await setLimit(locker, key, 2);
        expect(await inspect(locker, key)).toMatchObject({ limit: 2, paused: false });
        await setLimit(locker, key, undefined);
        expect(await left(key)).toEqual([]);
      }
    });

    describe("pause", () => {
      test("lets nobody in, by whichever door, until unpause", async () => {
        const key = freshKey();
        await pause(locker, key);
        expect(await inspect(locker, key)).toMatchObject({ state: "free", paused: true });
        for (const target of [key, { key, limit: 2 }, { key, mode: "shared" }, [key, freshKey()]] as const) {
          const error = await locker.acquire(target).catch((error) => error);
          expect(error).toBeInstanceOf(LockBusyError);
          expect(error).toMatchObject({ key, owner: undefined, retryAfter: undefined });
        }
        expect(await foreign(key)).toBe(null);
        const waiters = [wait(locker, key), wait(locker, key)];
        await Promise.all(waiters.map(({ standing }) => standing));
        expect(await inspect(locker, key)).toMatchObject({ state: "free", waiters: [{}, {}] });
        await unpause(locker, key);
        await Promise.all(waiters.map(async ({ lock }) => (await lock).release()));
        await until(async () => (await left(key)).every((name) => name.includes(":gone:")));
      });

      test("leaves who holds the lock alone, and keeps the lock once it is released", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key);
        await pause(locker, key);
        expect(await lock.extend()).toBe(true);
        expect(await lock.release()).toBe(true);
        expect(await locker.tryAcquire(key)).toBe(null);
        await unpause(locker, key);
        await (await locker.acquire(key)).release();
        expect(await left(key)).toEqual([]);
      });
    });

    describe("list", () => {
      test("shows the locks of this locker by pages, each once, and no other key", async () => {
        const own = createLocker({ ...connect(backend.server), prefix: `p${freshKey()}:` });
        const names = ["a", "b{c}", "}d", "a:e", "x*y"];
        const locks = await Promise.all(names.map((name) => own.acquire(name, { fencing: true })));
        await setLimit(own, "a", 3);
        await setLimit(own, "limited", 3);
        await pause(own, "paused");
        const all = async (options = {}) => {
          const found: string[] = [];
          let cursor: string | undefined;
          do {
            const page = await list(own, { ...options, cursor });
            found.push(...page.locks.map(({ key }) => key));
            cursor = page.cursor;
          } while (cursor !== undefined);
          return found.sort();
        };
        expect(await all({ count: 1 })).toEqual([...names, "limited", "paused"].sort());
        expect(await all({ prefix: "a" })).toEqual(["a", "a:e"]);
        expect(await all({ prefix: "x*" })).toEqual(["x*y"]);
        expect(await all({ prefix: "}" })).toEqual(["}d"]);
        expect(await all({ prefix: "z" })).toEqual([]);
        for (const lock of locks) await lock.release();
      });
    });
  });
});

test("what has no door is refused as an option", async () => {
  for (const locker of [{}, undefined, { acquire: memoryLocker().acquire }])
    await expect(inspect(locker as Locker, "order")).rejects.toMatchObject({ option: "locker" });
});

test.each(["", "lock:", "p{q:"])(
  "list finds a key that begins with a brace behind the prefix %j",
  async (prefix) => {
    const locker = memoryLocker({ prefix, ttl: "1m" });
    for (const key of ["}odd", "{odd"]) {
      await locker.acquire(key);
      for (const start of [key, key.slice(0, 1), ""]) {
        const { locks } = await list(locker, { prefix: start, count: 1000 });
        expect(locks.map((lock) => lock.key)).toContain(key);
      }
    }
  },
);

test("wrong options of list are refused", async () => {
  for (const options of [{ count: 0 }, { count: 1001 }, { cursor: "x" }, { prefix: 1 }])
    await expect(list(memoryLocker(), options as object)).rejects.toBeInstanceOf(LockOptionError);
});

test("a Redis that cannot be asked is unavailable, and why is said as it came", async () => {
  const locker = createLocker({ url: "http://127.0.0.1:1", token: "t", requestTimeout: 100 });
  for (const ask of [inspect, release, pause, unpause]) {
    const error = await ask(locker, "order").catch((error) => error);
    expect(error).toBeInstanceOf(LockUnavailableError);
    expect(error.cause.message).toMatch(/^[a-z ]+$/);
  }
  await expect(list(locker)).rejects.toBeInstanceOf(LockUnavailableError);
});

test("a request for a lock that arrives once more, late, does not undo its end", async () => {
  const server = await startDevServer();
  const redis = new Redis({ url: server.url, token: server.token });
  const exec = redis.exec.bind(redis);
  const asked: Parameters<typeof exec>[0][] = [];
  redis.exec = async (command) => {
    asked.push(command);
    return exec(command);
  };
  const locker = createLocker({ url: server.url, token: server.token, ttl: "1m" });
  const target = { key: freshKey(), limit: 2 };
  const others = [await locker.acquire(target), await locker.acquire(target)];
  const waiter = wait(createLocker({ redis, ttl: "1m" }), target);
  await waiter.standing;
  for (const lock of others) await lock.release();
  const lock = await waiter.lock;
  await release(locker, target.key);
  for (const command of asked.filter(([name]) => name === "EVAL")) await exec(command);
  expect(await lock.extend()).toBe(false);
  expect(lock.signal.reason).toMatchObject({ message: expect.stringContaining("an operator") });
  await server.close();
});

test("memoryLocker can be looked at and steered", async () => {
  const locker = memoryLocker();
  const lock = await locker.acquire("order");
  expect((await list(locker)).locks).toMatchObject([{ key: "order", state: "held" }]);
  await release(locker, "order");
  expect(await lock.extend()).toBe(false);
});
