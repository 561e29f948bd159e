import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLocker, LockBusyError, type Locker } from "../../src/index.ts";
import { type Backend, backends, freshKey } from "../helpers/backends.ts";
import { type FaultyProxy, isJoin, startProxy } from "../helpers/proxy.ts";
import { acquired, listening, queueOf, until, vanished, wait } from "../helpers/waiter.ts";

// Without DELEX the scripts are the same, and the builds of @upstash/redis differ only in how a request is sent.
const tried = backends.filter(
  ({ client, engine }) =>
    client.includes("REST") ||
    engine === "the embedded engine" ||
    (client === "@upstash/redis" && engine === "a real Redis"),
);

const isTake = ([name]: unknown[]) => name === "SET";

describe.each(tried)("the queue through $client on $engine", ({ missing, start, connect }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    let locker: Locker;
    /** In front of the same server, for those whose streams bring nothing, and whose requests are counted. */
    let deaf: FaultyProxy;
    let deafLocker: Locker;
    beforeAll(async () => {
      backend = await start();
      locker = createLocker({ ...connect(backend.server), ttl: "1m" });
      deaf = await startProxy(backend.server.url);
      deaf.failStreams({ silent: true });
      const at = { url: deaf.url, token: backend.server.token };
      deafLocker = createLocker({ ...connect(at), ttl: "1m" });
    });
    afterAll(async () => {
      await deaf?.close();
      await backend?.close();
    });

    const value = (key: string) => backend.raw.get(`lock:{${key}}`);

    test.concurrent("is in the order of asking, also where an earlier one comes to stand in it later", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key);
      const slow = await startProxy(backend.server.url);
      const otherStands = Promise.withResolvers<void>();
      slow.fail(isTake, { holdUntil: otherStands.promise });
      const at = { url: slow.url, token: backend.server.token };
      const first = wait(createLocker({ ...connect(at), ttl: "1m" }), key, { owner: "first" });
      await until(() => slow.count(isTake) > 0);
      // How long a request takes to the server counts as not yet having asked.
      await delay(100);
      const second = wait(locker, key, { owner: "second" });
      await second.standing;
      otherStands.resolve();
      expect(await first.standing).toBe(0);
      expect(await queueOf(backend.raw, key)).toEqual(["first", "second"]);
      await holder.release();
      await (await first.lock).release();
      await (await second.lock).release();
      await slow.close();
    });

    test.concurrent("serves ten waiters in the order of their arrival, each by hand-over", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key);
      const order: number[] = [];
      const waiters = [];
      for (let i = 0; i < 10; i++) {
        const waiter = wait(locker, key, { owner: `waiter ${i}` });
        expect(await waiter.standing).toBe(i);
        const served = waiter.lock.then(async (lock) => {
          order.push(i);
          await delay(2);
          expect(await lock.release()).toBe(true);
        });
        waiters.push({ waiter, served });
      }
      expect(await queueOf(backend.raw, key)).toEqual(waiters.map((_, i) => `waiter ${i}`));
      await listening(backend.raw, key);
      expect(await holder.release()).toBe(true);
      await Promise.all(waiters.map(({ served }) => served));
      expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      // One that asks in the very moment of its hand-over finds the lock by asking.
      const granted = waiters.filter(({ waiter }) => acquired(waiter)?.granted);
      expect(granted.length).toBeGreaterThan(5);
      await vanished(backend.raw, key);
    });

    test.concurrent("lets nobody pass who asks while others wait", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key);
      const first = wait(locker, key);
      await first.standing;
      const second = wait(locker, key);
      await second.standing;
      await holder.release();
      expect(await locker.tryAcquire(key)).toBe(null);
      const lock = await first.lock;
      await lock.release();
      expect(await locker.tryAcquire(key, { fencing: true })).toBe(null);
      await (await second.lock).release();
      await vanished(backend.raw, key);
    });

    test.concurrent("gives a lock whose holder never released it to the first waiter", async () => {
      const key = freshKey();
      await locker.acquire(key, { ttl: 2500, renew: false });
      const order: string[] = [];
      const waiters = [];
      for (const name of ["first", "second", "third"]) {
        const waiter = wait(locker, key);
        await waiter.standing;
        waiters.push(
          waiter.lock.then((lock) => {
            order.push(name);
            return lock.release();
          }),
        );
      }
      expect(await Promise.all(waiters)).toEqual([true, true, true]);
      expect(order).toEqual(["first", "second", "third"]);
      await vanished(backend.raw, key);
    });

    test.concurrent("is left at once by a waiter whose wait is over, and those behind move up", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key, { owner: "the holder" });
      // The holder's lease is what the server says, not what the holder had asked for.
      await backend.raw.pexpire(`lock:{${key}}`, 40_000);
      // Long enough that the last one's wait is over before, also on a busy machine.
      const leaving = wait(locker, key, { wait: 5000, owner: "leaving" });
      await leaving.standing;
      const staying = wait(locker, key, { owner: "staying" });
      expect(await staying.standing).toBe(1);
      const last = wait(locker, key, { wait: 1500, owner: "last" });
      expect(await last.standing).toBe(2);

      for (const waiter of [leaving, last]) {
        const error = await waiter.failure;
        expect(error).toBeInstanceOf(LockBusyError);
        const limit = waiter === leaving ? 5000 : 1500;
        expect(error.waited).toBeGreaterThanOrEqual(limit);
        expect(error.place).toBe(waiter === leaving ? 0 : 2);
        expect(error.owner).toBe("the holder");
        expect(error.retryAfter).toBeGreaterThan(20_000);
        expect(error.retryAfter).toBeLessThanOrEqual(40_000);
        expect(error.headers["Retry-After"]).toBe(`${Math.ceil(error.retryAfter / 1000)}`);
        expect(waiter.events.at(-1)).toMatchObject({
          type: "busy",
          owner: "the holder",
          place: error.place,
          retryAfter: error.retryAfter,
        });
      }
      expect(await queueOf(backend.raw, key)).toEqual(["staying"]);
      await until(() => staying.events.some((event) => event.type === "waiting" && event.place === 0));
      await holder.release();
      await (await staying.lock).release();
      await vanished(backend.raw, key);
    });

    test.concurrent("is left by a waiter that is aborted, which asks nothing more", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key);
      const controller = new AbortController();
      const aborted = wait(locker, key, { signal: controller.signal, owner: "aborted" });
      await aborted.standing;
      const next = wait(locker, key, { owner: "next" });
      await next.standing;
      const reason = new Error("no longer needed");
      controller.abort(reason);
      expect(await aborted.failure).toBe(reason);
      await until(async () => (await queueOf(backend.raw, key)).length === 1);
      expect(await queueOf(backend.raw, key)).toEqual(["next"]);
      await holder.release();
      await (await next.lock).release();
      await vanished(backend.raw, key);
    });

    test.concurrent.each(["its wait is over", "it is aborted"])(
      "passes on the grant that a waiter did not hear of when %s",
      async (why) => {
        const key = freshKey();
        const holder = await locker.acquire(key);
        const controller = new AbortController();
        const { signal } = controller;
        // It polls no sooner than 750 ms after it joined.
        const leaving = wait(deafLocker, key, {
          owner: "leaving",
          signal,
          ...(why[3] === " " && { wait: 600 }),
        });
        await leaving.standing;
        const next = wait(locker, key, { owner: "next" });
        await next.standing;
        await holder.release();
        expect(await value(key)).toContain("leaving");
        const granted = performance.now();
        const lasts = await backend.raw.pttl(`lock:{${key}}`);
        if (why === "it is aborted") controller.abort(new Error("enough"));
        const error = await leaving.failure;
        if (why === "it is aborted") expect(error.message).toBe("enough");
        else expect(error).toBeInstanceOf(LockBusyError);
        await until(async () => (await value(key))?.includes("next"));
        // Passed on, not run out.
        expect(performance.now() - granted).toBeLessThan(lasts);
        const lock = await next.lock;
        expect(await lock.release()).toBe(true);
        await vanished(backend.raw, key);
      },
    );

    test.concurrent("keeps nobody waiting whose holder keeps the lock once the window is over", async () => {
      const key = freshKey();
      const started = performance.now();
      const holder = await locker.acquire(key, { holdFor: 900 });
      const first = wait(locker, key);
      await first.standing;
      const second = wait(locker, key);
      await second.standing;
      expect(await holder.release()).toBe(true);
      expect(await value(key)).not.toBe(null);
      const lock = await first.lock;
      expect(performance.now() - started).toBeGreaterThanOrEqual(895);
      expect(acquired(second)).toBe(undefined);
      await lock.release();
      await (await second.lock).release();
      await vanished(backend.raw, key);
    });

    test.concurrent("draws rising fencing tokens along the queue", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key, { fencing: true });
      const fences = [holder.fence as number];
      const waiters = [];
      for (let i = 0; i < 3; i++) {
        const waiter = wait(locker, key, { fencing: true });
        await waiter.standing;
        waiters.push(
          waiter.lock.then((lock) => {
            fences.push(lock.fence as number);
            return lock.release();
          }),
        );
      }
      await holder.release();
      await Promise.all(waiters);
      expect(fences).toHaveLength(4);
      expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
      await vanished(backend.raw, key);
      expect(await backend.raw.get(`lock:{${key}}:fence`)).toBe(String(fences.at(-1)));
    });

    test.concurrent("asks nothing more once a waiter is aborted or its wait is over", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key);
      const mine = (words: unknown[]) => isJoin(words) && words.includes(`lock:{${key}}`);
      const controller = new AbortController();
      const aborted = wait(deafLocker, key, { signal: controller.signal });
      await aborted.standing;
      const impatient = wait(deafLocker, key, { wait: 500 });
      await impatient.standing;
      const asked = deaf.count(mine);
      controller.abort(new Error("enough"));
      expect((await aborted.failure).message).toBe("enough");
      await impatient.failure;
      // Neither end waited for the next time to ask, 750 ms after the last at the soonest.
      expect(deaf.count(mine)).toBe(asked);
      await until(async () => (await queueOf(backend.raw, key)).length === 0);
      await holder.release();
      await vanished(backend.raw, key);
    });

    test.concurrent("gives a grant its whole lease, beside the work or by renewal", async () => {
      for (const renew of [false, true]) {
        const key = freshKey();
        const holder = await locker.acquire(key);
        const waiter = wait(locker, key, { ttl: "30s", renew });
        await waiter.standing;
        await listening(backend.raw, key);
        await holder.release();
        const lock = await waiter.lock;
        // A grant lasts no longer than its waiter was to count as alive.
        await until(async () => lock.remaining > 10_000);
        expect(lock.remaining).toBeLessThanOrEqual(await backend.raw.pttl(`lock:{${key}}`));
        expect(lock.signal.aborted).toBe(false);
        expect(await lock.release()).toBe(true);
        await vanished(backend.raw, key);
      }
    });
  });
});

describe("what waiting costs", () => {
  const onOne = backends.filter(({ engine }) => engine === "the embedded engine");
  describe.each(onOne)("through $client", ({ start, connect }) => {
    let backend: Backend;
    let locker: Locker;
    beforeAll(async () => {
      backend = await start();
      locker = createLocker({ ...connect(backend.server), wait: "1h", ttl: "1m" });
    });
    afterAll(() => backend?.close());

    test("is nothing where nobody holds the lock: two requests and two commands", async () => {
      const key = freshKey();
      backend.server.resetMeter();
      await (await locker.acquire(key)).release();
      expect(backend.server.meter()).toEqual({ requests: 2, commands: 2, byCommand: { set: 1, delex: 1 } });
    });

    test("is one command for the release of a lock that was handed over, with nobody behind it", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key);
      const waiter = wait(locker, key, { renew: true });
      await waiter.standing;
      await listening(backend.raw, key);
      await holder.release();
      const lock = await waiter.lock;
      await until(() => backend.server.meter().byCommand.unsubscribe === 1);
      backend.server.resetMeter();
      expect(await lock.release()).toBe(true);
      expect(backend.server.meter()).toEqual({ requests: 1, commands: 1, byCommand: { delex: 1 } });
      await vanished(backend.raw, key);
    });

    test("is one command and one script to stand in the queue", async () => {
      const key = freshKey();
      const holder = await locker.acquire(key);
      backend.server.resetMeter();
      const waiter = wait(locker, key);
      await waiter.standing;
      expect(backend.server.meter().byCommand).toMatchObject({ set: 2, eval: 1 });
      await holder.release();
      await (await waiter.lock).release();
    });
  });
});
