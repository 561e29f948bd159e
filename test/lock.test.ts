import { Redis } from "@upstash/redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  createLocker,
  type LockEvent,
  LockLostError,
  LockUnavailableError,
  type Targets,
} from "../src/index.ts";
import { type Backend, clients, engines, freshKey, lockerAt } from "./helpers/backends.ts";
import { anything, command, type Fault, type FaultyProxy, startProxy } from "./helpers/proxy.ts";
import { until } from "./helpers/waiter.ts";

let backend: Backend;
let proxy: FaultyProxy;
beforeAll(async () => {
  backend = await (engines[0] as (typeof engines)[0]).start();
});
afterAll(() => backend?.close());
beforeEach(async () => {
  proxy = await startProxy(backend.server.url);
});
afterEach(() => proxy.close());

const at = () => ({ url: proxy.url, token: backend.server.token });
const value = (key: string) => backend.raw.get(`lock:{${key}}`);
const left = (key: string) => backend.raw.pttl(`lock:{${key}}`);
const many = (fault: Fault) => Array.from({ length: 200 }, () => fault);
const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });

describe.each(clients)("lock.signal, with $client", ({ connect }) => {
  const locker = (options = {}) => createLocker({ ...connect(at()), ...options });

  test.each([
    ["release()", (lock: { release(): unknown }) => lock.release()],
    ["release({ failed: true })", (lock: { release(o: object): unknown }) => lock.release({ failed: true })],
    ["the end of `await using`", (lock: AsyncDisposable) => lock[Symbol.asyncDispose]()],
  ])("aborts at %s, before that is sent, with a reason that is no loss", async (_, end) => {
    for (const options of [{}, { holdFor: "1s" }, { fencing: true }]) {
      const lock = await locker(options).acquire(freshKey());
      await proxy.settled();
      const before = proxy.seen.length;
      let sent: number | undefined;
      lock.signal.addEventListener("abort", () => {
        sent = proxy.seen.length - before;
      });
      await end(lock as never);
      expect(sent).toBe(0);
      expect(lock.signal.aborted).toBe(true);
      expect(lock.signal.reason).toMatchObject({ name: "AbortError" });
      expect(() => lock.signal.throwIfAborted()).toThrow("The lock was released");
    }
  });

  test("aborts for work that goes on when another part of it has failed", async () => {
    const failed = new Error("the other step failed");
    let seen: AbortSignal | undefined;
    const work = locker().withLock(freshKey(), ({ signal }) => {
      seen = signal;
      return Promise.all([aborted(signal), Promise.reject(failed)]);
    });
    await expect(work).rejects.toBe(failed);
    expect(seen?.aborted).toBe(true);
  });

  test("stays that of a loss where the lock was lost first", async () => {
    const lock = await locker().acquire(freshKey(), { ttl: 100 });
    await aborted(lock.signal);
    expect(await lock.release()).toBe(false);
    expect(lock.signal.reason).toBeInstanceOf(LockLostError);
  });
});

describe("renewal", () => {
  test("ends when the signal aborts, and the lock with its lease", async () => {
    const stop = new AbortController();
    const key = freshKey();
    const lock = await lockerAt(backend.server).acquire(key, {
      ttl: 300,
      renew: true,
      signal: stop.signal,
    });
    stop.abort(new Error("enough"));
    expect(lock.signal.reason).toMatchObject({ message: "enough" });
    await until(async () => (await value(key)) === null);
    expect(lock.held).toBe(false);
  });

  test("of a bounded lock ends by then, counted from acquire", async () => {
    const key = freshKey();
    const renewed: number[] = [];
    const start = Date.now();
    const lock = await lockerAt(backend.server).acquire(key, {
      ttl: 300,
      renew: "900ms",
      onEvent: ({ type }) => type === "renewed" && renewed.push(Date.now() - start),
    });
    await aborted(lock.signal);
    expect(lock.signal.reason).toBeInstanceOf(LockLostError);
    await until(async () => (await value(key)) === null);
    expect(renewed.length).toBeGreaterThanOrEqual(2);
    // No lease reaches past the bound by more than its own margin.
    expect(await lock.release()).toBe(false);
  });

  test.each([0, -1, "5", "40d", "true", null])("takes no bound that is none: %j", async (renew) => {
    await expect(lockerAt(backend.server).acquire("k", { renew: renew as never })).rejects.toMatchObject({
      option: "renew",
    });
  });
});

describe("a lock with holdFor", () => {
  test("is let go at once after a failure, in every way that tells of one", async () => {
    const locker = lockerAt(backend.server, { holdFor: "1h" });
    const [a, b, c] = [freshKey(), freshKey(), freshKey()];
    await locker.withLock(a, () => Promise.reject(new Error("failed"))).catch(() => {});
    expect(await value(a)).toBe(null);
    const lock = await locker.acquire(b);
    expect(await lock.release({ failed: true })).toBe(true);
    expect(await value(b)).toBe(null);
    // A disposer is not told.
    {
      await using _ = await locker.acquire(c);
    }
    expect(await value(c)).toBe(null);
  });

  test("is kept for the whole window after work that waited for it: no rate is exceeded", async () => {
    const key = freshKey();
    const locker = lockerAt(backend.server, { wait: "1m" });
    const holder = await locker.acquire({ key, limit: 1 });
    const window = 60_000;
    let [standing, started] = [0, 0];
    const waiter = locker.withLock(
      { key, limit: 1, holdFor: window },
      {
        onEvent: ({ type }) => {
          if (type === "waiting") standing++;
        },
      },
      () => {
        started = performance.now();
      },
    );
    await until(async () => standing > 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await holder.release();
    await waiter;
    expect((await left(key)) + performance.now()).toBeGreaterThanOrEqual(started + window - 1);
  });

  // A request may have more time than a lease.
  test.each([100, "30s"] as const)(
    "is kept after a success, however long Redis is away while the lease lasts, with a requestTimeout of %s",
    async (requestTimeout) => {
      const key = freshKey();
      const locker = createLocker({ ...at(), holdFor: "1h", ttl: "10s", requestTimeout });
      await locker.withLock(key, () => {
        proxy.fail(anything, ...Array.from({ length: 12 }, (): Fault => ({ cut: true })));
      });
      expect(await left(key)).toBeGreaterThan(3_000_000);
    },
  );

  test("that could not be kept is an error, though the work succeeded", async () => {
    const key = freshKey();
    const locker = createLocker({ ...at(), holdFor: "1h", ttl: 400, requestTimeout: 50 });
    const work = locker.withLock(key, () => void proxy.fail(anything, ...many({ cut: true })));
    await expect(work).rejects.toBeInstanceOf(LockUnavailableError);
  });

  test("whose window is over when the work ends is let go as one without: its result is not thrown away", async () => {
    const locker = createLocker({ ...at(), holdFor: 1, ttl: 400, requestTimeout: 50 });
    const work = locker.withLock(freshKey(), async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      proxy.fail(anything, ...many({ cut: true }));
      return "done";
    });
    await expect(work).resolves.toBe("done");
  });

  test("beside one without is kept, and the other let go, however long Redis is away while the lease lasts", async () => {
    const [kept, free] = [freshKey(), freshKey()];
    const locker = createLocker({ ...at(), ttl: "10s", requestTimeout: 100 });
    const lock = await locker.acquire([{ key: kept, holdFor: "1h" }, free]);
    proxy.fail(anything, ...Array.from({ length: 24 }, (): Fault => ({ cut: true })));
    expect(await lock.release()).toBe(true);
    expect(await left(kept)).toBeGreaterThan(3_000_000);
    expect(await value(free)).toBe(null);
  });

  test.each<[string, (key: string) => Targets]>([
    ["an exclusive lock", (key) => key],
    ["a permit", (key) => ({ key, limit: 3 })],
    ["a reader", (key) => ({ key, mode: "shared" })],
    ["several", (key) => [key, `${key}2`]],
  ])("is let go by a failure that is told after a success whose reply was lost: %s", async (_, target) => {
    const key = freshKey();
    // Little of the caller's time is left, so that it is asked for once and repeated.
    let timeLeft = 60_000;
    const locker = createLocker({ ...at(), ttl: "1m", holdFor: "1h", deadline: () => timeLeft });
    const lock = await locker.acquire(target(key));
    timeLeft = 1000;
    let lost = true;
    proxy.fail(() => lost, ...many({ lose: "reply" }));
    await expect(lock.release()).rejects.toBeInstanceOf(LockUnavailableError);
    lost = false;
    timeLeft = 60_000;
    expect(await left(key)).toBeGreaterThan(100_000);
    expect(await lock.release({ failed: true })).toBe(true);
    for (const each of lock.keys) await until(async () => (await value(each)) === null);
  });

  test("beside one without fails once, and leaves no rejection that nobody handles", async () => {
    const unhandled: unknown[] = [];
    const listener = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", listener);
    const locker = createLocker({ ...at(), ttl: 1000, requestTimeout: 50 });
    const lock = await locker.acquire([{ key: freshKey(), holdFor: "1h" }, freshKey()]);
    proxy.fail(anything, ...many({ cut: true }));
    await expect(lock.release()).rejects.toBeInstanceOf(LockUnavailableError);
    const asked = proxy.seen.length;
    await new Promise((resolve) => setTimeout(resolve, 1200));
    process.off("unhandledRejection", listener);
    expect(unhandled).toEqual([]);
    expect(proxy.seen.length).toBe(asked);
  });

  test("does not ask without a pause when the answers are none of Redis'", async () => {
    const locker = createLocker({ ...at(), holdFor: "1h", ttl: 2000 });
    const lock = await locker.acquire(freshKey());
    const nonsense = { status: 200, type: "application/json", body: '{"result":7}' };
    proxy.fail(anything, ...Array.from({ length: 5000 }, (): Fault => ({ answer: nonsense })));
    const asked = proxy.seen.length;
    await expect(lock.release()).rejects.toBeInstanceOf(LockUnavailableError);
    expect(proxy.seen.length - asked).toBeLessThan(50);
  });

  test("that was lost before it could be kept is an error, though the work succeeded", async () => {
    const key = freshKey();
    const work = lockerAt(backend.server, { holdFor: "1h" }).withLock(key, () =>
      backend.raw.del(`lock:{${key}}`),
    );
    await expect(work).rejects.toBeInstanceOf(LockLostError);
  });
});

test("an `await using` block keeps its own outcome, though Redis cannot be asked at its end", async () => {
  const events: LockEvent["type"][] = [];
  const locker = createLocker({ ...at(), requestTimeout: 50, onEvent: ({ type }) => events.push(type) });
  const failure = new Error("the work failed");
  const block = async (outcome: () => unknown) => {
    await using _ = await locker.acquire(freshKey());
    proxy.fail(anything, ...many({ cut: true }));
    return outcome();
  };
  expect(await block(() => "done")).toBe("done");
  expect(events).toContain("unavailable");
  await proxy.close();
  proxy = await startProxy(backend.server.url);
  const other = createLocker({ ...at(), requestTimeout: 50 });
  const failing = async () => {
    await using _ = await other.acquire(freshKey());
    proxy.fail(anything, ...many({ cut: true }));
    throw failure;
  };
  await expect(failing()).rejects.toBe(failure);
});

describe("release, asked again", () => {
  const denied: Fault = {
    answer: { status: 401, type: "application/json", body: '{"error":"WRONGPASS invalid"}' },
  };

  test.each([
    ["was refused", denied],
    ["never arrived", { hang: true } satisfies Fault],
  ])("after one that %s says false once another has the lock", async (_, fault) => {
    const key = freshKey();
    const locker = createLocker({ ...at(), ttl: 700, requestTimeout: 100 });
    const lock = await locker.acquire(key);
    proxy.fail((words) => !words.includes("NX"), ...many(fault));
    await expect(lock.release()).rejects.toBeInstanceOf(LockUnavailableError);
    await until(async () => (await value(key)) === null);
    const other = await lockerAt(backend.server).acquire(key);
    await proxy.close();
    proxy = await startProxy(backend.server.url);
    // The same lock, over a network that works again.
    expect(await lock.release().catch(() => "unknown")).not.toBe(true);
    expect(await value(key)).toContain(other.token);
    await other.release();
  });

  test.each([
    ["an instance that sends again by itself", () => ({ redis: new Redis({ ...at(), retry: false }) })],
    ["a reply that is lost", at],
  ])("says false after the lease, over %s", async (_, connect) => {
    const key = freshKey();
    const lock = await createLocker({ ...connect(), ttl: 300 }).acquire(key);
    proxy.fail(anything, denied);
    await expect(lock.release()).rejects.toBeInstanceOf(LockUnavailableError);
    await until(async () => (await value(key)) === null);
    const other = await lockerAt(backend.server).acquire(key);
    proxy.fail(anything, { cut: true });
    expect(await lock.release()).toBe(false);
    expect(await other.release()).toBe(true);
  });

  test("after one whose reply was lost says true while the lease lasts", async () => {
    const key = freshKey();
    const lock = await createLocker({ ...at(), requestTimeout: 400 }).acquire(key);
    proxy.fail(command("DELEX"), { swallow: "reply" });
    proxy.fail(anything, { hang: true }, { hang: true });
    await expect(lock.release()).rejects.toBeInstanceOf(LockUnavailableError);
    expect(await lock.release()).toBe(true);
  });
});
