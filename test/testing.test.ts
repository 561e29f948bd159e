import { setTimeout as delay } from "node:timers/promises";
import middy from "@middy/core";
import { Redis } from "@upstash/redis";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { lockFetch as workerFetch } from "../src/adapters/cloudflare.ts";
import { lockFetch } from "../src/adapters/fetch.ts";
import { lockHandler } from "../src/adapters/lambda.ts";
import lockMiddleware from "../src/adapters/middy.ts";
import {
  createLocker,
  LockBusyError,
  type LockEvent,
  LockLostError,
  LockOptionError,
  LockUnavailableError,
  type Targets,
} from "../src/index.ts";
import { lockInMemory, type MemoryLocks, memoryLocker } from "../src/testing/index.ts";

afterEach(() => {
  vi.useRealTimers();
});

test("a lock in memory is held by one, busy for others, extended, released, and not ours after that", async () => {
  const locker = memoryLocker();
  const lock = await locker.acquire("k", { owner: "me" });
  expect(lock.held).toBe(true);
  expect(await locker.tryAcquire("k")).toBe(null);
  await expect(locker.acquire("k")).rejects.toMatchObject({ code: "LOCK_BUSY", owner: "me" });
  expect(await lock.extend("1m")).toBe(true);
  expect(lock.remaining).toBeGreaterThan(50_000);
  expect(await lock.release()).toBe(true);
  expect(await locker.resume(lock.toJSON()).release()).toBe(false);
  expect(await memoryLocker().tryAcquire("k")).not.toBe(null);
});

test("waiters are served one at a time, in their order, by hand-over", async () => {
  let granted = 0;
  const locker = memoryLocker();
  const order: number[] = [];
  let inside = 0;
  const first = await locker.acquire("k");
  const all: Promise<void>[] = [];
  for (let i = 0; i < 20; i++) {
    const { promise: standing, resolve: stands } = Promise.withResolvers<void>();
    const onEvent = (event: LockEvent) => {
      if (event.type === "acquired" && event.granted) granted++;
      if (event.type === "waiting") stands();
    };
    const waiting = locker.withLock("k", { wait: "1m", onEvent }, async () => {
      expect(++inside).toBe(1);
      await delay(2);
      order.push(i);
      inside--;
    });
    all.push(waiting);
    // Those that ask in one moment may stand in another order.
    await standing;
  }
  await first.release();
  await Promise.all(all);
  expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(granted).toBe(20);
});

test("a wait that is over is a LockBusyError with its place, and leaves the queue", async () => {
  const locker = memoryLocker();
  const lock = await locker.acquire("k");
  const error = await locker.acquire("k", { wait: 30 }).catch((error) => error);
  expect(error).toBeInstanceOf(LockBusyError);
  expect(error).toMatchObject({ place: 0 });
  await lock.release();
  expect(await locker.tryAcquire("k")).not.toBe(null);
});

test("fencing tokens rise, and a window is kept with holdFor", async () => {
  const locker = memoryLocker({ fencing: true });
  const first = await locker.withLock("k", ({ fence }) => fence as number);
  expect(await locker.withLock("k", ({ fence }) => fence as number)).toBeGreaterThan(first);
  await locker.withLock("task", { holdFor: "1h" }, () => {});
  expect(await locker.tryAcquire("task")).toBe(null);
});

test("a lease ends under fake timers", async () => {
  vi.useFakeTimers();
  const locker = memoryLocker();
  const lock = await locker.acquire("k", { ttl: "10s" });
  vi.advanceTimersByTime(11_000);
  expect(lock.signal.reason).toBeInstanceOf(LockLostError);
  const next = await locker.tryAcquire("k");
  expect(next?.held).toBe(true);
  expect(await lock.release()).toBe(false);
  expect(await next?.release()).toBe(true);
});

test("adapters take it as their locker", async () => {
  const locker = memoryLocker();
  const handler = middy()
    .use(lockMiddleware({ locker, key: "k" }))
    .handler(async (_event, { lock }) => lock.held);
  expect(await handler({}, {} as never)).toBe(true);
});

test("a wrong option is refused", () => {
  expect(() => memoryLocker({ ttl: "soon" as never })).toThrow(LockOptionError);
  const before = { fetch: globalThis.fetch, env: { ...process.env } };
  for (const [options, option] of [
    [null, "options"],
    [{ URL: "http://redis.example" }, "URL"],
    [{ url: 5 }, "url"],
    [{ url: "redis://redis.example" }, "url"],
  ])
    expect(() => lockInMemory(options as never)).toThrow(new RegExp(`^${option}: `));
  expect({ fetch: globalThis.fetch, env: process.env }).toEqual(before);
});

describe("a lock in memory, told to fail,", () => {
  const kinds: { target: Targets }[] = [
    { target: "k" },
    { target: { key: "k", limit: 2 } },
    { target: { key: "k", mode: "shared" } },
    { target: ["k", "l"] },
  ];

  test.each(kinds)("is busy: $target", async ({ target }) => {
    const locker = memoryLocker();
    const mine = await locker.acquire("mine");
    locker.fail("busy");
    await expect(locker.acquire(target)).rejects.toBeInstanceOf(LockBusyError);
    await expect(locker.acquire(target)).rejects.toMatchObject({ retryAfter: expect.any(Number) });
    expect(await locker.tryAcquire(target)).toBe(null);
    // What was held before stays so.
    expect(await mine.extend()).toBe(true);
    const waiting = locker.acquire(target, { wait: "5s" });
    locker.heal();
    expect((await waiting).held).toBe(true);
  });

  test.each(kinds)(
    "is busy until `heal`, also while the test holds a part of it: $target",
    async ({ target }) => {
      const locker = memoryLocker();
      const first = await locker.acquire(target);
      locker.fail("busy");
      expect(await locker.tryAcquire(target)).toBe(null);
      let stands = () => {};
      const standing = new Promise<void>((resolve) => {
        stands = resolve;
      });
      const onEvent = ({ type }: LockEvent) => void (type === "waiting" && stands());
      let granted = false;
      const waiting = locker.acquire(target, { wait: "5s", onEvent }).then((lock) => {
        granted = true;
        return lock;
      });
      await standing;
      expect(await first.extend()).toBe(true);
      expect(await first.release()).toBe(true);
      expect(await locker.tryAcquire(target)).toBe(null);
      expect(granted).toBe(false);
      locker.heal();
      expect(await (await waiting).release()).toBe(true);
      expect(await (await locker.acquire(target)).release()).toBe(true);
    },
  );

  test.each(kinds)("is unavailable, at once and under fake timers: $target", async ({ target }) => {
    vi.useFakeTimers();
    const locker = memoryLocker();
    const lock = await locker.acquire("before");
    locker.fail("unavailable");
    await expect(locker.acquire(target)).rejects.toBeInstanceOf(LockUnavailableError);
    await expect(locker.tryAcquire(target)).rejects.toBeInstanceOf(LockUnavailableError);
    await expect(lock.extend()).rejects.toBeInstanceOf(LockUnavailableError);
    expect((await locker.acquire(target, { ifUnavailable: "proceed" })).held).toBe(false);
    locker.heal();
    expect(await lock.release()).toBe(true);
    expect((await locker.acquire(target)).held).toBe(true);
  });

  test.each(kinds)(
    "is lost: the work ends by its signal, and the caller is told: $target",
    async ({ target }) => {
      const locker = memoryLocker({ ttl: "300ms" });
      const before = await locker.acquire("before");
      locker.fail("lost");
      expect(await before.extend()).toBe(false);
      const work = locker.withLock(target, async ({ held, signal }) => {
        expect(held).toBe(true);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      });
      await expect(work).rejects.toBeInstanceOf(LockLostError);
      locker.heal();
      expect(await locker.withLock(target, () => "done")).toBe("done");
    },
  );

  test("in no other way", () => {
    expect(() => memoryLocker().fail("slow" as never)).toThrow(
      'how: got "slow", expected "busy" or "lost" or "unavailable"',
    );
  });
});

describe("handlers that were wrapped before, and whose locks are put in memory,", () => {
  const names = ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"];
  let memory: MemoryLocks;
  beforeEach(() => {
    for (const name of names) vi.stubEnv(name, undefined);
  });
  afterEach(() => {
    memory.restore();
    vi.unstubAllEnvs();
  });

  const post = lockFetch({ key: "k" }, (request) => Response.json({ held: request.lock.held }));
  const statusOf = async () => {
    const response = await post(new Request("http://shop/k"));
    // The lock is held to the end of the body.
    await response.text();
    return response.status;
  };

  test("take, find busy, lose and miss them as they are told", async () => {
    memory = lockInMemory();
    expect(await statusOf()).toBe(200);
    const held = await memory.locker.acquire("k");
    expect(await statusOf()).toBe(423);
    await held.release();
    memory.fail("busy");
    expect(await statusOf()).toBe(423);
    memory.heal();
    vi.spyOn(console, "error").mockReturnValue();
    memory.fail("unavailable");
    expect(await statusOf()).toBe(503);
    memory.heal();
    expect(await statusOf()).toBe(200);
    memory.restore();
    // A module that has its locker by now finds the next memory, too.
    memory = lockInMemory();
    memory.fail("busy");
    expect(await statusOf()).toBe(423);
  });

  test("are those of a Worker, which get the env, of Lambda, and of a client of @upstash/redis", async () => {
    const worker = workerFetch({ key: "k" }, (_request, _env: object) => new Response());
    const lambda = lockHandler({ key: "k" }, async () => "ran");
    memory = lockInMemory();
    const redis = Redis.fromEnv();
    const held = await memory.locker.acquire("k");
    const context = { waitUntil: () => {} };
    expect((await worker(new Request("http://shop/k"), memory.env, context)).status).toBe(423);
    await expect(lambda({}, {} as never)).rejects.toBeInstanceOf(LockBusyError);
    expect(await createLocker({ redis }).tryAcquire("k")).toBe(null);
    const waiting = createLocker({ redis }).acquire("k", { wait: "5s" });
    const next = createLocker().acquire("k", { wait: "5s" });
    await held.release();
    await (await waiting).release();
    expect((await next).held).toBe(true);
  });

  test("reach no Redis of the environment's, and all else of `fetch` and the environment stays", async () => {
    vi.stubEnv("UPSTASH_REDIS_REST_URL", "https://real.example/");
    const fetched = vi.spyOn(globalThis, "fetch").mockResolvedValue(new Response("elsewhere"));
    memory = lockInMemory();
    expect(await createLocker().withLock("k", () => "done")).toBe("done");
    expect(fetched).not.toHaveBeenCalled();
    expect(await (await fetch("https://real.example.org/")).text()).toBe("elsewhere");
    memory.restore();
    expect(globalThis.fetch).toBe(fetched);
    expect(process.env.UPSTASH_REDIS_REST_URL).toBe("https://real.example/");
    expect(process.env.UPSTASH_REDIS_REST_TOKEN).toBe(undefined);
    fetched.mockRestore();
  });
});
