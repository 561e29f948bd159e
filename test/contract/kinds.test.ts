import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  createLocker,
  type Lock,
  LockBusyError,
  type LockEvent,
  type Locker,
  LockLostError,
  type Target,
} from "../../src/index.ts";
import { type Backend, backends, freshKey } from "../helpers/backends.ts";
import { memoryEngine } from "../helpers/memory-backend.ts";
import { queueOf, until, type Waiter, wait } from "../helpers/waiter.ts";

describe.each([...backends, memoryEngine()])("through $client on $engine", ({ missing, start, connect }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    let locker: Locker;
    beforeAll(async () => {
      backend = await start();
      locker = createLocker(connect(backend.server));
    });
    afterAll(() => backend?.close());

    const keysOf = (key: string) => backend.raw.keys(`lock:{${key}}*`);
    const standing = (key: string, count: number) =>
      until(async () => (await queueOf(backend.raw, key)).length === count);
    const releaseAll = (locks: Lock[]) => Promise.all(locks.map((lock) => lock.release()));

    describe("permits", () => {
      test("are given out up to the limit, by weight, and leave nothing behind", async () => {
        const key = freshKey();
        const one = await locker.acquire({ key, limit: 3 }, { owner: "one" });
        const two = await locker.acquire({ key, limit: 3, weight: 2 });
        expect([one.held, two.held, one.key]).toEqual([true, true, key]);
        const error = await locker.acquire({ key, limit: 3 }).catch((error) => error);
        expect(error).toBeInstanceOf(LockBusyError);
        expect(error).toMatchObject({ key, owner: "one" });
        expect(await one.release()).toBe(true);
        expect(await locker.tryAcquire({ key, limit: 3, weight: 2 })).toBe(null);
        const again = await locker.acquire({ key, limit: 3 });
        expect(await releaseAll([two, again])).toEqual([true, true]);
        expect(await one.release()).toBe(true);
        expect(await keysOf(key)).toEqual([]);
      });

      test("exclude an exclusive lock and plain SET NX, and are excluded by them", async () => {
        const key = freshKey();
        const permit = await locker.acquire({ key, limit: 2 });
        expect(await locker.tryAcquire(key)).toBe(null);
        expect(await locker.tryAcquire({ key, mode: "shared" })).toBe(null);
        expect(await backend.raw.set(`lock:{${key}}`, "another library's", "PX", 60_000, "NX")).toBe(null);
        await permit.release();
        const exclusive = await locker.acquire(key);
        expect(await locker.tryAcquire({ key, limit: 2 })).toBe(null);
        await exclusive.release();
        expect(await backend.raw.set(`lock:{${key}}`, "another library's", "PX", 60_000, "NX")).toBe("OK");
        expect(await locker.tryAcquire({ key, limit: 2 })).toBe(null);
        expect(await backend.raw.get(`lock:{${key}}`)).toBe("another library's");
      });

      test("have a lease each: a dead holder's comes back, its neighbours' stay", async () => {
        const key = freshKey();
        const dead = await locker.acquire({ key, limit: 2 }, { ttl: 200 });
        const alive = await locker.acquire({ key, limit: 2 }, { ttl: "1m" });
        const next = await locker.acquire({ key, limit: 2 }, { wait: "1m" });
        expect([dead.held, alive.held, next.held]).toEqual([false, true, true]);
        expect(await dead.extend()).toBe(false);
        expect(await locker.tryAcquire({ key, limit: 2 })).toBe(null);
        await releaseAll([alive, next]);
        expect(await keysOf(key)).toEqual([]);
      });

      test("are extended, resumed elsewhere and kept, each by itself", async () => {
        const key = freshKey();
        const target: Target = { key, limit: 2, weight: 1, holdFor: "1m" };
        const one = await locker.acquire(target, { ttl: 500 });
        expect(await one.extend("1m")).toBe(true);
        expect(one.remaining).toBeGreaterThan(30_000);
        const resumed = locker.resume(JSON.parse(JSON.stringify(one)));
        expect([await resumed.extend(), resumed.held]).toEqual([true, true]);
        // A rate limit: each start is counted for its window.
        expect(await resumed.release()).toBe(true);
        const two = await locker.acquire(target);
        expect(await two.release()).toBe(true);
        expect(await locker.tryAcquire(target)).toBe(null);
        const failed = await locker.acquire({ key: freshKey(), limit: 1, holdFor: "1m" });
        await failed.release({ failed: true });
        expect(await keysOf(failed.key)).toEqual([]);
      });

      test("cost two requests and at most eight billed commands, whatever the limit", async () => {
        const { meter } = backend.server;
        if (!meter) return;
        for (const limit of [1, 5, 1000]) {
          const key = freshKey();
          const others = [];
          for (let i = 1; i < Math.min(limit, 5); i++) others.push(await locker.acquire({ key, limit }));
          await (await locker.acquire({ key, limit })).release();
          const before = meter();
          await (await locker.acquire({ key, limit })).release();
          const after = meter();
          expect(after.requests - before.requests).toBe(2);
          expect(after.commands - before.commands).toBeLessThanOrEqual(8);
          await releaseAll(others);
        }
      });
    });

    describe("readers", () => {
      test("hold together, keep a writer out, and wait behind one that waits", async () => {
        const key = freshKey();
        const shared: Target = { key, mode: "shared" };
        const first = await locker.acquire(shared);
        const second = await locker.acquire(shared);
        expect(await locker.tryAcquire(key)).toBe(null);
        const writer = wait(locker, key);
        await standing(key, 1);
        expect(await locker.tryAcquire(shared)).toBe(null);
        const readers = [1, 2].map(() => locker.acquire(shared, { wait: "1m" }));
        await standing(key, 3);
        await releaseAll([first, second]);
        const written = await writer.lock;
        expect(await queueOf(backend.raw, key)).toHaveLength(2);
        await written.release();
        const both = await Promise.all(readers);
        expect(both.map(({ held }) => held)).toEqual([true, true]);
        await releaseAll(both);
        expect(await keysOf(key)).toEqual([]);
      });

      test("come in beside a holder that downgrades", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key);
        const reader = locker.acquire({ key, mode: "shared" }, { wait: "1m" });
        const writer = await standing(key, 1).then(() => wait(locker, key));
        await standing(key, 2);
        expect(await lock.downgrade()).toBe(true);
        expect((await reader).held).toBe(true);
        expect(lock.held).toBe(true);
        expect(await queueOf(backend.raw, key)).toHaveLength(1);
        await releaseAll([lock, await reader]);
        await (await writer.lock).release();
        expect(await keysOf(key)).toEqual([]);
      });

      test("a downgraded lock is a shared one from then on: in its events, its handle, and to itself", async () => {
        const events: string[] = [];
        const onEvent = ({ type, mode }: LockEvent) => void events.push(`${type} ${mode}`);
        const lock = await locker.acquire([freshKey(), freshKey()], { onEvent });
        expect(await lock.downgrade()).toBe(true);
        expect(lock.toJSON().targets).toMatchObject([{ mode: "shared" }, { mode: "shared" }]);
        const resumed = locker.resume(JSON.stringify(lock));
        expect(await resumed.extend()).toBe(true);
        for (const each of [lock, resumed])
          await expect(each.downgrade()).rejects.toMatchObject({ option: "downgrade" });
        expect(await lock.release()).toBe(true);
        expect(events).toEqual([
          "asked exclusive",
          "acquired exclusive",
          "renewed shared",
          "released shared",
        ]);
      });

      test("cannot be downgraded, nor can permits; a lost lock says no", async () => {
        const reader = await locker.acquire({ key: freshKey(), mode: "shared" });
        await expect(reader.downgrade()).rejects.toMatchObject({ option: "downgrade" });
        const permit = await locker.acquire({ key: freshKey(), limit: 2 });
        await expect(permit.downgrade()).rejects.toMatchObject({ option: "downgrade" });
        const lost = await locker.acquire(freshKey());
        await backend.raw.del(`lock:{${lost.key}}`);
        expect(await lost.downgrade()).toBe(false);
        expect(lost.signal.reason).toBeInstanceOf(LockLostError);
        await releaseAll([reader, permit]);
      });
    });

    describe("a queue", () => {
      test("is one for all modes and weights: a heavy waiter is not overtaken", async () => {
        const key = freshKey();
        const [one, two] = [await locker.acquire({ key, limit: 2 }), await locker.acquire({ key, limit: 2 })];
        const heavy = locker.acquire({ key, limit: 2, weight: 2 }, { wait: "1m" });
        await standing(key, 1);
        const light = locker.acquire({ key, limit: 2 }, { wait: "1m" });
        await standing(key, 2);
        await one.release();
        expect(await locker.tryAcquire({ key, limit: 2 })).toBe(null);
        expect(await queueOf(backend.raw, key)).toHaveLength(2);
        await two.release();
        await (await heavy).release();
        await (await light).release();
        expect(await keysOf(key)).toEqual([]);
      });

      test("lets several in at once, when several fit", async () => {
        const key = freshKey();
        const holder = await locker.acquire(key);
        const waiters: Waiter[] = [];
        for (let i = 1; i <= 3; i++) {
          waiters.push(wait(locker, { key, limit: 3 }));
          await standing(key, i);
        }
        await holder.release();
        const permits = await Promise.all(waiters.map(({ lock }) => lock));
        expect(permits.map(({ held }) => held)).toEqual([true, true, true]);
        await releaseAll(permits);
        expect(await keysOf(key)).toEqual([]);
      });

      test("goes on when a waiter that does not fit leaves", async () => {
        const key = freshKey();
        const permit = await locker.acquire({ key, limit: 2 });
        const leave = new AbortController();
        const heavy = locker.acquire({ key, limit: 2, weight: 2 }, { wait: "1m", signal: leave.signal });
        heavy.catch(() => {});
        await standing(key, 1);
        const light = locker.acquire({ key, limit: 2 }, { wait: "1m" });
        await standing(key, 2);
        leave.abort();
        expect((await light).held).toBe(true);
        await releaseAll([permit, await light]);
        // A request of the one that left may be on its way.
        expect((await keysOf(key)).filter((name) => !name.includes(":gone:"))).toEqual([]);
      });
    });

    describe("several keys", () => {
      const three = () =>
        [freshKey(), { key: freshKey(), mode: "shared" }, { key: freshKey(), limit: 5 }] as const;
      const names = (targets: readonly Target[]) =>
        targets.map((target) => (typeof target === "string" ? target : target.key));

      test("are taken and released together, by one request each", async () => {
        const targets = three();
        const [a, b, c] = names(targets);
        await (await locker.acquire(three())).release();
        const before = backend.server.meter?.();
        const lock = await locker.acquire(targets);
        expect([lock.key, lock.keys, lock.held]).toEqual([`${a}, ${b}, ${c}`, [a, b, c], true]);
        expect(await locker.tryAcquire(a as string)).toBe(null);
        expect(await locker.tryAcquire(b as string)).toBe(null);
        const busy = backend.server.meter?.();
        expect(await lock.extend("1m")).toBe(true);
        expect(lock.remaining).toBeGreaterThan(30_000);
        const extended = backend.server.meter?.();
        expect(await lock.release()).toBe(true);
        const after = backend.server.meter?.();
        if (before && busy && extended && after) {
          expect(extended.requests - busy.requests).toBe(1);
          expect(after.requests - extended.requests).toBe(1);
        }
        expect((await Promise.all([a, b, c].map((key) => keysOf(key as string)))).flat()).toEqual([]);
      });

      test("cost two requests and at most 16 billed commands", async () => {
        const { meter } = backend.server;
        if (!meter) return;
        for (const targets of [three(), [freshKey(), freshKey(), freshKey()]]) {
          const before = meter();
          await (await locker.acquire(targets)).release();
          const after = meter();
          expect(after.requests - before.requests).toBe(2);
          expect(after.commands - before.commands).toBeLessThanOrEqual(16);
        }
      });

      test("of which one is busy are none of them taken, and the error names that one", async () => {
        const [a, b, c] = [freshKey(), freshKey(), freshKey()];
        const holder = await locker.acquire(b, { owner: "holder" });
        const error = await locker.acquire([a, b, c]).catch((error) => error);
        expect(error).toBeInstanceOf(LockBusyError);
        expect(error).toMatchObject({ key: b, owner: "holder" });
        await holder.release();
        await (await locker.acquire([a, b, c])).release();
      });

      test("are waited for in the order of their names; whoever asks in the other order does not block it", async () => {
        const [a, b] = [freshKey(), freshKey()];
        const holder = await locker.acquire(b);
        const both = locker.acquire([b, a], { wait: "1m", ttl: "1s", renew: true });
        await standing(b, 1);
        expect(await locker.tryAcquire(a)).toBe(null);
        const others = locker.acquire([a, b], { wait: "1m" });
        await standing(a, 1);
        await delay(1200);
        expect(await locker.tryAcquire(a)).toBe(null);
        await holder.release();
        const lock = await both;
        expect([lock.held, lock.remaining > 100]).toEqual([true, true]);
        await lock.release();
        await (await others).release();
        expect([...(await keysOf(a)), ...(await keysOf(b))]).toEqual([]);
      });

      test("leave nothing behind when the wait is over, or is given up", async () => {
        const [a, b] = [freshKey(), freshKey()];
        const holder = await locker.acquire(b);
        await expect(locker.acquire([a, b], { wait: 300 })).rejects.toMatchObject({ key: b });
        expect(await keysOf(a)).toEqual([]);
        const leave = new AbortController();
        const both = locker.acquire([a, b], { wait: "1m", signal: leave.signal });
        await standing(b, 1);
        leave.abort(new Error("the client has left"));
        await expect(both).rejects.toThrow("the client has left");
        await until(async () => (await keysOf(a)).every((key) => key.includes(":gone:")));
        await holder.release();
      });

      test("have one fencing token, above every counter and written to each", async () => {
        const [a, b] = [freshKey(), freshKey()];
        const single = await locker.acquire(b, { fencing: true });
        await single.release();
        const lock = await locker.acquire([a, b], { fencing: true });
        expect(lock.fence).toBeGreaterThan(single.fence as number);
        await lock.release();
        for (const key of [a, b]) {
          expect(await backend.raw.get(`lock:{${key}}:fence`)).toBe(`${lock.fence}`);
          const next = await locker.acquire(key, { fencing: true });
          expect(next.fence).toBeGreaterThan(lock.fence as number);
          await next.release();
        }
      });

      test("are lost together: once one is another's, the rest is let go", async () => {
        const [a, b] = [freshKey(), freshKey()];
        const lock = await locker.acquire([a, b], { ttl: "1m" });
        await backend.raw.del(`lock:{${b}}`);
        expect(await lock.extend()).toBe(false);
        expect([lock.held, lock.signal.reason instanceof LockLostError]).toEqual([false, true]);
        await until(async () => (await keysOf(a)).length === 0);
        expect(await lock.release()).toBe(false);
      });

      test("are resumed elsewhere, with the windows of each", async () => {
        const [a, b] = [freshKey(), freshKey()];
        const lock = await locker.acquire([a, { key: b, limit: 1, holdFor: "1m" }]);
        const resumed = locker.resume(JSON.stringify(lock));
        expect([await resumed.extend(), resumed.keys]).toEqual([true, [a, b]]);
        expect(await resumed.release()).toBe(true);
        expect(await keysOf(a)).toEqual([]);
        expect(await locker.tryAcquire({ key: b, limit: 1 })).toBe(null);
      });

      test("stay with who resumed them, once the lease ends of who handed them on", async () => {
        const [a, b] = [freshKey(), freshKey()];
        const background: Promise<unknown>[] = [];
        const waitUntil = (work: Promise<unknown>) => background.push(work);
        const lock = await locker.acquire([a, b], { ttl: "1s", waitUntil });
        const resumed = locker.resume(JSON.stringify(lock));
        expect(await resumed.extend("1m")).toBe(true);
        await until(async () => lock.signal.aborted);
        await Promise.all(background);
        expect(await resumed.extend()).toBe(true);
        expect(await resumed.release()).toBe(true);
      });
    });
  });
});
