import { Redis as RawRedis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import {
  createLocker,
  LockBusyError,
  type LockEvent,
  type LockOptions,
  LockUnavailableError,
  type Targets,
} from "../../src/index.ts";
import { singleFlight } from "../../src/single-flight/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { clients, freshKey, lockerAt } from "../helpers/backends.ts";
import { anything, type Fault, type FaultyProxy, startProxy } from "../helpers/proxy.ts";
import { hasRedisServer, type RunningRedis, startRedis } from "../helpers/redis-server.ts";
import { primaryArgs, type Replica, startReplica } from "../helpers/replicas.ts";
import { until, vanished, wait } from "../helpers/waiter.ts";

describe.skipIf(!hasRedisServer)("replicas (needs redis-server)", () => {
  let primary: RunningRedis;
  let first: Replica;
  let second: Replica;
  let raw: RawRedis;
  let server: DevServer;
  let proxy: FaultyProxy;
  beforeAll(async () => {
    primary = await startRedis({ args: primaryArgs });
    [first, second] = await Promise.all([startReplica(primary.port), startReplica(primary.port)]);
    raw = new RawRedis(primary.url);
    server = await startDevServer({ redis: primary.url });
    await until(async () => (await raw.wait(2, 1000)) === 2);
  });
  afterAll(async () => {
    await server?.close();
    raw?.disconnect();
    for (const each of [first, second, primary]) await each?.close();
  });
  beforeEach(async () => {
    proxy = await startProxy(server.url);
  });
  afterEach(async () => {
    wakeAll();
    await proxy.close();
    await until(async () => (await raw.set("ready", "1")) && (await raw.wait(2, 1000)) === 2);
  });

  function freezeAll() {
    first.freeze();
    second.freeze();
  }
  function wakeAll() {
    first.wake();
    second.wake();
  }
  const keysOf = (key: string) => [raw, first.raw, second.raw].map((each) => each.get(`lock:{${key}}`));
  /** What the primary and both replicas have at the lock. */
  const everywhere = (key: string) => Promise.all(keysOf(key));
  /** Nobody's option but that of the test. */
  const plain = () => lockerAt(server);

  describe.each(clients)("with $client", ({ client, connect }) => {
    const builtIn = client === "the built-in REST client";
    const at = () => connect({ url: proxy.url, token: server.token });
    const locker = (options: LockOptions = {}) =>
      createLocker({ ...at(), replicas: 2, requestTimeout: 400, ...options });

    test("none is asked by default: not a byte more is sent", async () => {
      const lock = await createLocker({ ...at(), requestTimeout: 400 }).acquire(freshKey());
      await lock.extend();
      await lock.release();
      expect(proxy.seen).toHaveLength(3);
      expect(proxy.seen).not.toContain("WAIT");
    });

    test("those that were asked for have the lock when it is acquired, by one request more at most", async () => {
      const key = freshKey();
      const before = server.meter();
      const lock = await locker().acquire(key);
      const after = server.meter();
      expect(new Set(await everywhere(key)).size).toBe(1);
      expect((await first.raw.get(`lock:{${key}}`)) ?? "").toContain(lock.token);
      expect(after.requests - before.requests).toBe(builtIn ? 1 : 2);
      expect(after.commands - before.commands).toBe(2);
      expect(await lock.release()).toBe(true);
    });

    const kinds: [string, (key: string) => Targets, LockOptions][] = [
      ["one exclusive lock", (key) => key, {}],
      ["a permit", (key) => ({ key, limit: 2 }), {}],
      ["a reader", (key) => ({ key, mode: "shared" }), {}],
      ["several keys", (key) => [key, { key: `${key}-2`, limit: 3 }], {}],
      ["a fencing token", (key) => key, { fencing: true }],
      ["a wait", (key) => key, { wait: "5s" }],
    ];
    describe.each(kinds)("%s", (_, targets, options) => {
      test("is at the replicas when it is acquired", async () => {
        const key = freshKey();
        const lock = await locker(options).acquire(targets(key));
        const [there, one, other] = await everywhere(key);
        expect(there).toBeTruthy();
        expect([one, other]).toEqual([there, there]);
        await lock.release();
      });

      test("is unavailable with one too few, released, and says how many confirmed it", async () => {
        const key = freshKey();
        second.freeze();
        const error = await locker(options)
          .acquire(targets(key))
          .catch((error) => error);
        expect(error).toBeInstanceOf(LockUnavailableError);
        expect(error.message).toBe("1 of 2 replicas confirmed the lock");
        await vanished(raw, key);
        await vanished(raw, `${key}-2`);
        const lock = await locker({ ...options, replicas: 1 }).acquire(targets(key));
        expect(lock.held).toBe(true);
        await lock.release();
      });
    });

    test("more than there are never confirm", async () => {
      const events: LockEvent[] = [];
      const error = await locker({ replicas: 3, onEvent: (event) => events.push(event) })
        .acquire(freshKey())
        .catch((error) => error);
      expect(error).toBeInstanceOf(LockUnavailableError);
      expect(error.message).toBe("2 of 3 replicas confirmed the lock");
      expect(events).toMatchObject([{ type: "asked" }, { type: "unavailable", step: "acquire", error }]);
    });

    test("what another holds is busy, whatever the replicas say", async () => {
      const key = freshKey();
      const holder = await plain().acquire(key);
      freezeAll();
      await expect(locker().acquire(key)).rejects.toBeInstanceOf(LockBusyError);
      expect(await locker().tryAcquire({ key, limit: 2 })).toBe(null);
      await holder.release();
    });

    test("who waits behind a lock that too few confirmed gets it", async () => {
      const key = freshKey();
      const holder = await plain().acquire(key);
      const unconfirmed = wait(locker(), key);
      await unconfirmed.standing;
      const next = wait(plain(), key);
      await next.standing;
      freezeAll();
      await holder.release();
      expect((await unconfirmed.failure).message).toBe("0 of 2 replicas confirmed the lock");
      await (await next.lock).release();
    });

    test.each([false, true])(
      "have a lock that is handed over, before it is acquired (renewed: %s)",
      async (renew) => {
        const key = freshKey();
        const holder = await plain().acquire(key);
        const waiter = wait(locker(), key, { renew });
        await waiter.standing;
        first.freeze();
        await holder.release();
        // Its grant is at the primary, and confirmed by one of them.
        await until(async () => (await second.raw.get(`lock:{${key}}`))?.startsWith("s2:"));
        first.wake();
        const lock = await waiter.lock;
        const left = lock.remaining;
        expect(await first.raw.get(`lock:{${key}}`)).toContain(lock.token);
        expect(await second.raw.get(`lock:{${key}}`)).toContain(lock.token);
        expect(await first.raw.pttl(`lock:{${key}}`)).toBeGreaterThan(left - 1000);
        expect(left).toBeGreaterThan(8000);
        await lock.release();
      },
    );

    test("a new lease counts only once they have it", async () => {
      const key = freshKey();
      const lock = await locker().acquire(key, { ttl: "20s" });
      second.freeze();
      const before = lock.remaining;
      const error = await lock.extend("1m").catch((error) => error);
      expect(error).toBeInstanceOf(LockUnavailableError);
      expect(error.message).toBe("1 of 2 replicas confirmed the lock");
      expect(lock.held).toBe(true);
      expect(lock.remaining).toBeLessThanOrEqual(before);
      second.wake();
      expect(await lock.extend("1m")).toBe(true);
      expect(lock.remaining).toBeGreaterThan(50_000);
      expect(await second.raw.pttl(`lock:{${key}}`)).toBeGreaterThan(50_000);
      await lock.release();
    });

    test("a lock whose renewals they do not confirm is lost when the lease ends that they know", async () => {
      const events: LockEvent["type"][] = [];
      const lock = await locker({ onEvent: ({ type }) => events.push(type) }).acquire(freshKey(), {
        ttl: "1s",
        renew: true,
      });
      freezeAll();
      await until(() => lock.signal.aborted);
      expect(events).toContain("unavailable");
      expect(events).not.toContain("renewed");
      expect(lock.signal.reason.message).toMatch(/its lease ended/);
    });

    test("a lock is kept after its work once they have it", async () => {
      const key = freshKey();
      await locker().withLock(key, { holdFor: "1h" }, () => {});
      expect(await first.raw.pttl(`lock:{${key}}`)).toBeGreaterThan(3_500_000);
      const other = freshKey();
      const done = locker({ ttl: "3s", requestTimeout: "1s" }).withLock(other, { holdFor: "1h" }, () =>
        freezeAll(),
      );
      await expect(done).rejects.toThrow("0 of 2 replicas confirmed the lock");
    });

    test("a resumed lock is held once they have its lease", async () => {
      const key = freshKey();
      const handle = JSON.stringify(await plain().acquire(key));
      const lock = locker().resume(handle);
      freezeAll();
      await expect(lock.extend()).rejects.toThrow("0 of 2 replicas confirmed the lock");
      expect(lock.held).toBe(false);
      wakeAll();
      expect(await lock.extend()).toBe(true);
      expect(await lock.release()).toBe(true);
    });

    test("a kept result is told of once they have it, and its caller gets it all the same", async () => {
      const key = freshKey();
      const errors: Error[] = [];
      const options = { keepFor: "1m", ttl: "1s", onError: (error: Error) => errors.push(error) } as const;
      expect(await singleFlight(locker(), key, options, () => 42)).toBe(42);
      expect(await first.raw.get(`lock:{${key}}:result`)).toContain("42");
      expect(errors).toEqual([]);
      const other = freshKey();
      const work = () => {
        freezeAll();
        return 43;
      };
      expect(await singleFlight(locker(), other, options, work)).toBe(43);
      expect(errors.map(({ message }) => message)).toEqual(["0 of 2 replicas confirmed the lock"]);
      expect(await singleFlight(plain(), other, options, () => 44)).toBe(43);
    });

    test("too few of them let the work run without the lock, where that is wanted", async () => {
      const key = freshKey();
      freezeAll();
      const lock = await locker().acquire(key, { ifUnavailable: "proceed" });
      expect(lock.held).toBe(false);
      await vanished(raw, key);
    });

    test("a signal ends the acquire of a lock that they have not confirmed", async () => {
      const key = freshKey();
      const abort = new AbortController();
      freezeAll();
      const acquiring = locker({ requestTimeout: 10_000 }).acquire(key, { signal: abort.signal });
      await until(async () => (await raw.get(`lock:{${key}}`)) !== null);
      abort.abort(new Error("enough"));
      await expect(acquiring).rejects.toThrow("enough");
      wakeAll();
      await vanished(raw, key);
    });

    const faults: [string, Fault[]][] = [
      ["is lost", [{ lose: "reply" }]],
      ["is lost twice", [{ lose: "reply" }, { lose: "reply" }]],
      ["never comes", [{ swallow: "reply" }]],
      ["is one of a request that was executed twice", [{ repeat: true }]],
      ["is cut off", [{ cut: true }]],
    ];
    test.each(faults)("have a lock although the first reply %s", async (_, [...these]) => {
      const key = freshKey();
      proxy.fail(anything, ...these);
      const lock = await locker({ requestTimeout: 1000 }).acquire(key);
      const [there, ...replicas] = await everywhere(key);
      expect(there).toContain(lock.token);
      expect(replicas).toEqual([there, there]);
      expect(await lock.release()).toBe(true);
      await vanished(raw, key);
    });
  });
});

test("a lock in memory is confirmed by as many replicas as are asked for", async () => {
  const locker = memoryLocker({ replicas: 3 });
  const lock = await locker.acquire("k");
  expect(await lock.extend()).toBe(true);
  expect(await locker.tryAcquire("k")).toBe(null);
  expect(await lock.release()).toBe(true);
});

test("an engine without replicas confirms nothing: the lock is unavailable and released", async () => {
  const server = await startDevServer();
  const error = await lockerAt(server, { replicas: 1 })
    .acquire("k")
    .catch((error) => error);
  expect(error.message).toBe("0 of 1 replicas confirmed the lock");
  const raw = new RawRedis(server.redisUrl);
  await vanished(raw, "k");
  raw.disconnect();
  await server.close();
});
