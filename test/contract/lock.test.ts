import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createLocker, LockBusyError, type LockEvent, type Locker, LockLostError } from "../../src/index.ts";
import { type Backend, backends, freshKey } from "../helpers/backends.ts";
import { memoryEngine } from "../helpers/memory-backend.ts";

describe.each([...backends, memoryEngine()])(
  "a lock through $client on $engine",
  ({ missing, start, connect }) => {
    describe.skipIf(missing)("", () => {
      let backend: Backend;
      let locker: Locker;
      const events: LockEvent[] = [];
      beforeAll(async () => {
        backend = await start();
        locker = createLocker({ ...connect(backend.server), onEvent: (event) => events.push(event) });
      });
      afterAll(() => backend?.close());

      const keysOf = async (key: string) => backend.raw.keys(`lock:{${key}}*`);

      test("is held by one, busy for others, and free after release, with no key left", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key, { owner: "the first" });
        expect(lock.held).toBe(true);
        expect(lock.key).toBe(key);
        expect(lock.owner).toBe("the first");
        expect(lock.remaining).toBeGreaterThan(0);
        expect(lock.remaining).toBeLessThanOrEqual(9898);
        expect(lock.signal.aborted).toBe(false);

        expect(await locker.tryAcquire(key)).toBe(null);
        const error = await locker.acquire(key).catch((error) => error);
        expect(error).toBeInstanceOf(LockBusyError);
        expect(error).toMatchObject({
          code: "LOCK_BUSY",
          key,
          owner: "the first",
          statusCode: 423,
          expose: true,
        });
        expect(error.headers["Retry-After"]).toBe("10");
        expect(error.message).not.toContain("the first");

        expect(await lock.release()).toBe(true);
        expect(await lock.release()).toBe(true);
        expect(lock.held).toBe(false);
        expect(lock.remaining).toBe(0);
        expect(lock.signal.aborted).toBe(true);
        expect(lock.signal.reason).toMatchObject({ name: "AbortError" });
        expect(await keysOf(key)).toEqual([]);
      });

      test("runs work and hands over its result, and frees the lock when the work fails", async () => {
        const key = freshKey();
        expect(await locker.withLock(key, async (lock) => [lock.held, await keysOf(key)])).toEqual([
          true,
          [`lock:{${key}}`],
        ]);
        const failure = new Error("the work failed");
        await expect(locker.withLock(key, { ttl: "5s" }, () => Promise.reject(failure))).rejects.toBe(
          failure,
        );
        expect(await keysOf(key)).toEqual([]);
      });

      test("is released where an `await using` block ends", async () => {
        const key = freshKey();
        {
          await using lock = await locker.acquire(key);
          expect(lock.held).toBe(true);
        }
        expect(await keysOf(key)).toEqual([]);
      });

      test("is extended, counting from before the request", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key, { ttl: "2s" });
        expect(await lock.extend("1m")).toBe(true);
        expect(lock.remaining).toBeGreaterThan(30_000);
        expect(lock.remaining).toBeLessThanOrEqual(await backend.raw.pttl(`lock:{${key}}`));
        expect(await lock.extend("3s")).toBe(true);
        expect(lock.remaining).toBeLessThan(3000);
        await lock.release();
        expect(await lock.extend()).toBe(false);
        expect(await keysOf(key)).toEqual([]);
      });

      test("that expired is another's: it answers false and leaves the next holder alone", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key, { ttl: 60 });
        const lost = new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
        const next = await locker.acquire(key, { wait: "10s" });
        await lost;
        expect(lock.signal.reason).toBeInstanceOf(LockLostError);
        expect(lock.held).toBe(false);
        expect(await lock.extend()).toBe(false);
        expect(await lock.release()).toBe(false);
        expect(next.held).toBe(true);
        expect(await keysOf(key)).toHaveLength(1);
        expect(await next.release()).toBe(true);
      });

      test("deleted by hand is noticed by the renewal, and the work's result is refused", async () => {
        const key = freshKey();
        const work = locker.withLock(key, { ttl: 300 }, async (lock) => {
          await backend.raw.del(`lock:{${key}}`);
          await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
          expect(lock.held).toBe(false);
          expect(await lock.release()).toBe(false);
        });
        await expect(work).rejects.toBeInstanceOf(LockLostError);
        const ignoring = locker.withLock(key, { ttl: 300, onLost: "ignore" }, async () => {
          await backend.raw.del(`lock:{${key}}`);
          return "a result";
        });
        expect(await ignoring).toBe("a result");
      });

      test("deleted by hand is noticed at the release, at the latest", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key);
        await backend.raw.del(`lock:{${key}}`);
        expect(await lock.release()).toBe(false);
        expect(lock.signal.aborted).toBe(true);
      });

      test("outlives its lease while it is renewed", async () => {
        const key = freshKey();
        events.length = 0;
        await locker.withLock(key, { ttl: 600 }, async (lock) => {
          const renewals = () => events.filter(({ type }) => type === "renewed").length;
          while (renewals() < 4) {
            await delay(20);
            if (lock.signal.aborted) throw lock.signal.reason;
          }
          expect(await locker.tryAcquire(key)).toBe(null);
        });
        expect(await keysOf(key)).toEqual([]);
      });

      test("is taken in one place and released in another", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key, { owner: "an order" });
        const handle = JSON.stringify(lock);
        const resumed = locker.resume(handle);
        expect(resumed).toMatchObject({ key, token: lock.token, owner: "an order", held: false });
        expect(await resumed.extend("20s")).toBe(true);
        expect(resumed.held).toBe(true);
        expect(await resumed.release()).toBe(true);
        expect(await keysOf(key)).toEqual([]);
        expect(await locker.resume(JSON.parse(handle)).release()).toBe(false);
      });

      test("with fencing draws tokens that rise, in a counter that is forgotten when idle", async () => {
        const key = freshKey();
        const fences: number[] = [];
        for (let i = 0; i < 5; i++)
          await locker.withLock(key, { fencing: true }, ({ fence }) => fences.push(fence ?? 0));
        expect(fences.every((fence, i) => i === 0 || fence > (fences[i - 1] as number))).toBe(true);
        expect(Math.abs((fences[0] as number) - Date.now())).toBeLessThan(60_000);
        expect(await keysOf(key)).toEqual([`lock:{${key}}:fence`]);
        expect(await backend.raw.pttl(`lock:{${key}}:fence`)).toBeGreaterThan(80_000_000);
      });

      test("with holdFor stays taken after a success, counted from acquire, and not after a failure", async () => {
        const key = freshKey();
        await expect(
          locker.withLock(key, { holdFor: "30s" }, () => Promise.reject(new Error("failed"))),
        ).rejects.toThrow("failed");
        expect(await keysOf(key)).toEqual([]);
        await locker.withLock(key, { holdFor: "30s", owner: "the run" }, () => delay(50));
        const error = await locker.acquire(key).catch((error) => error);
        expect(error).toMatchObject({ code: "LOCK_BUSY", owner: "the run" });
        const left = await backend.raw.pttl(`lock:{${key}}`);
        expect(left).toBeGreaterThan(10_000);
        expect(left).toBeLessThanOrEqual(29_955);
        await backend.raw.del(`lock:{${key}}`);
      });

      test("is waited for, and a wait that is over says how long it was", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key, { owner: "a slow one" });
        const waiting = locker.acquire(key, { wait: "30s" });
        const impatient = await locker.acquire(key, { wait: 120 }).catch((error) => error);
        expect(impatient).toMatchObject({ code: "LOCK_BUSY", owner: "a slow one" });
        expect(impatient.waited).toBeGreaterThanOrEqual(120);
        await lock.release();
        const next = await waiting;
        expect(next.held).toBe(true);
        await next.release();
        expect(await keysOf(key)).toEqual([]);
      });

      test("is no longer waited for once the signal aborts", async () => {
        const key = freshKey();
        const lock = await locker.acquire(key);
        const controller = new AbortController();
        const waiting = locker.acquire(key, { wait: "1h", signal: controller.signal, requestTimeout: 500 });
        const reason = new Error("no longer needed");
        setTimeout(() => controller.abort(reason), 50);
        await expect(waiting).rejects.toBe(reason);
        await expect(locker.acquire(key, { signal: controller.signal })).rejects.toBe(reason);
        await lock.release();
        // It leaves the queue in the background.
        await vi.waitFor(async () => expect(await keysOf(key)).toEqual([]), 20_000);
      });

      test("passes the signal's abort on to the work", async () => {
        const controller = new AbortController();
        const key = freshKey();
        await locker.withLock(key, { signal: controller.signal }, async (lock) => {
          controller.abort(new Error("shutting down"));
          expect(lock.signal.reason).toEqual(new Error("shutting down"));
          expect(lock.held).toBe(true);
        });
        expect(await keysOf(key)).toEqual([]);
      });

      test("tells its listener what happens, without a token, and minds no error of it", async () => {
        const key = freshKey();
        const heard: LockEvent[] = [];
        const onEvent = (event: LockEvent) => {
          heard.push(event);
          throw new Error("a broken listener");
        };
        const lock = await locker.acquire(key, { onEvent });
        await locker.tryAcquire(key, { onEvent });
        await locker.tryAcquire(key, { onEvent, wait: 30 });
        await lock.extend();
        await lock.release();
        // A waiter tells its place as often as it asks.
        const types = heard.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1]);
        const [taken, refused, gaveUp] = [["acquired"], ["busy"], ["waiting", "busy"]].map((end) => [
          "asked",
          ...end,
        ]);
        expect(types).toEqual([taken, refused, gaveUp, "renewed", "released"].flat());
        expect(JSON.stringify(heard)).not.toContain(lock.token);
        expect(heard.every((event) => event.key === key)).toBe(true);
      });

      test("loses no update of a counter that 20 contenders read, await and write in turn", async () => {
        const key = freshKey();
        // A hand-over to one that polls takes a tenth of a second.
        const turns = backend.polls ? 5 : 50;
        let counter = 0;
        const contender = async () => {
          for (let i = 0; i < turns; i++) {
            await locker.withLock(key, { wait: "10m", ttl: "1m", renew: false }, async () => {
              const read = counter;
              await new Promise((resolve) => setImmediate(resolve));
              counter = read + 1;
            });
          }
        };
        await Promise.all(Array.from({ length: 20 }, contender));
        expect(counter).toBe(20 * turns);
        expect(await keysOf(key)).toEqual([]);
      }, 300_000);
    });
  },
);
