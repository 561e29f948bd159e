import { Lock as UpstashLock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { release } from "../../src/admin/index.ts";
import { createLocker, type Locker, LockUnavailableError } from "../../src/index.ts";
import { type Backend, clients, engines, freshKey } from "../helpers/backends.ts";
import { anything, command, type Fault, type FaultyProxy, startProxy } from "../helpers/proxy.ts";

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
const keysOf = (key: string) => backend.raw.keys(`lock:{${key}}*`);

/** Resolves once the lock is free; the test's own time limit ends a wait that never does. */
async function free(key: string): Promise<void> {
  while (await value(key)) await new Promise((resolve) => setTimeout(resolve, 10));
}

const times = (count: number, fault: Fault): Fault[] => Array.from({ length: count }, () => fault);

describe.each(clients)("lost replies, with $client", ({ connect }) => {
  let locker: Locker;
  beforeEach(() => {
    locker = createLocker(connect(at()));
  });

  test.each([1, 2, 3])("an acquire whose reply is lost %i times returns the held lock", async (lost) => {
    const key = freshKey();
    proxy.fail(anything, ...times(lost, { lose: "reply" }));
    const lock = await locker.acquire(key);
    expect(lock.held).toBe(true);
    expect(lock.remaining).toBeGreaterThan(5000);
    expect(await value(key)).toContain(lock.token);
    expect(await lock.release()).toBe(true);
    await proxy.settled();
    expect(await keysOf(key)).toEqual([]);
  });

  test.each([1, 2, 3])("a release whose reply is lost %i times has released, and says so", async (lost) => {
    const key = freshKey();
    const lock = await locker.acquire(key);
    proxy.fail(anything, ...times(lost, { lose: "reply" }));
    expect(await lock.release()).toBe(true);
    expect(await keysOf(key)).toEqual([]);
  });

  test("lost replies to a fenced acquire draw one token", async () => {
    const key = freshKey();
    proxy.fail(command("EVAL"), ...times(2, { lose: "reply" }));
    const lock = await locker.acquire(key, { fencing: true });
    expect(await backend.raw.get(`lock:{${key}}:fence`)).toBe(String(lock.fence));
    await lock.release();
  });

  test("a lost reply to an extension leaves the lock held", async () => {
    const key = freshKey();
    const lock = await locker.acquire(key);
    proxy.fail(anything, { lose: "reply" });
    expect(await lock.extend("30s")).toBe(true);
    expect(lock.remaining).toBeLessThanOrEqual(await backend.raw.pttl(`lock:{${key}}`));
    expect(await lock.release()).toBe(true);
  });

  test("a request that arrives twice changes nothing", async () => {
    const key = freshKey();
    proxy.fail(anything, ...times(3, { repeat: true }));
    const lock = await locker.acquire(key);
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
    expect(await keysOf(key)).toEqual([]);
  });

  test.each([
    [(key: string) => key],
    [(key: string) => ({ key, limit: 2 })],
    [(key: string) => ({ key, mode: "shared" as const })],
    [(key: string) => [key, `${key}-2`]],
  ])(
    "an acquire that an operator ended before its answer is unknown, and leaves nothing: %s",
    async (target) => {
      const key = freshKey();
      const ended = Promise.withResolvers<void>();
      proxy.fail(anything, { lose: "reply" }, { holdUntil: ended.promise });
      const acquired = locker.acquire(target(key), { ttl: "1m" });
      acquired.catch(() => {});
      const operator = createLocker({ url: backend.server.url, token: backend.server.token });
      while (!(await release(operator, key)).released)
        await new Promise((resolve) => setTimeout(resolve, 10));
      ended.resolve();
      await expect(acquired).rejects.toMatchObject({
        code: "LOCK_UNAVAILABLE",
        cause: { code: "LOCK_LOST", message: expect.stringContaining("operator") },
      });
      await free(key);
      await free(`${key}-2`);
      expect(await keysOf(key)).toEqual([]);
    },
  );

  test("an acquire that gave up before its request arrived leaves no lock once that settles", async () => {
    const key = freshKey();
    let arrive = () => {};
    proxy.fail(command("SET"), { holdUntil: new Promise<void>((resolve) => (arrive = resolve)) });
    const controller = new AbortController();
    const acquiring = locker.acquire(key, { signal: controller.signal });
    while (!proxy.seen.includes("SET")) await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort(new Error("gave up"));
    await expect(acquiring).rejects.toThrow("gave up");
    arrive();
    await proxy.settled();
    await free(key);
    await proxy.settled();
    expect(await keysOf(key)).toEqual([]);
  });

  test("an acquire given up after its reply was lost leaves no lock", async () => {
    const key = freshKey();
    proxy.fail(command("SET"), { lose: "reply" });
    const controller = new AbortController();
    const acquiring = locker.acquire(key, { ttl: "1h", signal: controller.signal });
    while (!(await value(key))) await new Promise((resolve) => setTimeout(resolve, 1));
    await proxy.settled();
    // Later than the loss, and before the request is repeated.
    setTimeout(() => controller.abort(new Error("gave up")), 5);
    await acquiring.then(
      (lock) => lock.release(),
      (error) => expect(error.message).toBe("gave up"),
    );
    await free(key);
  });

  test("an acquire that timed out while its requests were on the way leaves no lock once they settle", async () => {
    const key = freshKey();
    let arrive = () => {};
    const holdUntil = new Promise<void>((resolve) => (arrive = resolve));
    proxy.fail(anything, ...times(2, { holdUntil }));
    const acquiring = locker.acquire(key, { requestTimeout: 300 });
    await expect(acquiring).rejects.toBeInstanceOf(LockUnavailableError);
    arrive();
    await proxy.settled();
    await free(key);
    expect(await keysOf(key)).toEqual([]);
  });

  test("a request that arrives late, after its repetition took and released the lock, leaves none behind", async () => {
    const key = freshKey();
    let arrive = () => {};
    proxy.fail(command("SET"), { holdUntil: new Promise<void>((resolve) => (arrive = resolve)) });
    const lock = await locker.acquire(key, { requestTimeout: 400 });
    expect(await lock.release()).toBe(true);
    arrive();
    await proxy.settled();
    await free(key);
    expect(await keysOf(key)).toEqual([]);
  });

  const ways: [string, Fault][] = [
    ["a 500", { answer: { status: 500, type: "application/json", body: '{"error":"internal error"}' } }],
    ["a 503 in HTML", { answer: { status: 503, type: "text/html", body: "<h1>Service Unavailable</h1>" } }],
    [
      "HTML with status 200",
      { answer: { status: 200, type: "text/html", body: "<h1>Welcome to the hotel</h1>" } },
    ],
    [
      "JSON that is no reply",
      { answer: { status: 200, type: "application/json", body: '{"hello":"world"}' } },
    ],
    ["a cut-off body", { cut: true }],
    ["a hung socket", { hang: true }],
  ];
  test.each(ways)(
    "%s is not held and not busy, but unavailable, within twice the request's limit",
    async (_, fault) => {
      const key = freshKey();
      proxy.fail(anything, ...times(20, fault));
      const started = performance.now();
      const error = await locker.acquire(key, { requestTimeout: 500 }).catch((error) => error);
      // Ample for a busy machine, and far from the 4.3 s that @upstash/redis goes on by itself.
      expect(performance.now() - started).toBeLessThan(2500);
      expect(error).toBeInstanceOf(LockUnavailableError);
      expect(error.cause).toBeInstanceOf(Error);
      expect(error).toMatchObject({ code: "LOCK_UNAVAILABLE", key, statusCode: 503, expose: true });
      expectNoToken(error);
      expect(await keysOf(key)).toEqual([]);
    },
  );

  test("a refused token is unavailable at once", async () => {
    const strange = createLocker(connect({ url: proxy.url, token: "another-token-of-some-length" }));
    const error = await strange.acquire(freshKey()).catch((error) => error);
    expect(error).toBeInstanceOf(LockUnavailableError);
    expect(String(error.cause)).not.toContain("another-token");
    expect(proxy.seen).toHaveLength(1);
  });

  test("a refused connection is unavailable", async () => {
    const locker = createLocker(connect({ url: "http://127.0.0.1:9", token: "a-token" }));
    const error = await locker.acquire(freshKey(), { requestTimeout: 300 }).catch((error) => error);
    expect(error).toBeInstanceOf(LockUnavailableError);
    expect(error.cause).toBeInstanceOf(Error);
  });

  test("with ifUnavailable proceed the work runs, and knows that it holds nothing", async () => {
    proxy.fail(anything, ...times(20, { answer: { status: 503, type: "text/html", body: "" } }));
    const options = { ifUnavailable: "proceed", requestTimeout: 300 } as const;
    expect(await locker.withLock(freshKey(), options, ({ held, remaining }) => [held, remaining])).toEqual([
      false,
      0,
    ]);
  });

  test("busy is never taken for unavailable, nor unavailable for busy", async () => {
    const key = freshKey();
    const lock = await locker.acquire(key);
    expect(await locker.tryAcquire(key)).toBe(null);
    const said = (error: string): Fault => ({
      answer: { status: 400, type: "application/json", body: JSON.stringify({ error }) },
    });
    // A refusal for good is not repeated.
    proxy.fail(anything, said("NOPERM this user has no permissions to run the 'set' command"));
    await expect(locker.tryAcquire(key)).rejects.toBeInstanceOf(LockUnavailableError);
    await proxy.settled();
    // One of the moment is.
    proxy.fail(anything, said("ERR max requests limit exceeded. Limit: 10000, Usage: 10000."));
    expect(await locker.tryAcquire(key)).toBe(null);
    await lock.release();
  });

  test("renewal goes on through an outage shorter than the lease", async () => {
    const key = freshKey();
    await locker.withLock(key, { ttl: 2000, requestTimeout: 200 }, async (lock) => {
      proxy.fail(anything, ...times(3, { answer: { status: 503, type: "text/html", body: "" } }));
      const before = proxy.seen.length;
      while (proxy.seen.length < before + 4) await new Promise((resolve) => setTimeout(resolve, 20));
      await proxy.settled();
      expect(lock.signal.aborted).toBe(false);
    });
  });

  test("renewal blocked past the lease aborts the signal before the server's lease ends", async () => {
    const key = freshKey();
    const lock = await locker.acquire(key, { ttl: 700, renew: true, requestTimeout: 200 });
    proxy.fail(anything, ...times(50, { hang: true }));
    await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
    expect(await value(key)).toContain(lock.token);
    expect(lock.held).toBe(false);
  });
});

test("an acquire whose late lock could be neither extended nor released does not renew it", async () => {
  const key = freshKey();
  const locker = createLocker({ ...at(), ttl: 1900, requestTimeout: 1000, renew: true });
  const denied = '{"error":"NOPERM this user has no permissions to run the command"}';
  proxy.fail(command("SET"), { swallow: "reply" });
  const refusal: Fault = { answer: { status: 400, type: "application/json", body: denied } };
  proxy.fail((words) => words.includes("IFEQ"), refusal, refusal);
  await expect(locker.acquire(key)).rejects.toBeInstanceOf(LockUnavailableError);
  await free(key);
  // Two requests to take it, one to extend it; a fourth would be a renewal.
  expect(proxy.seen.filter((name) => name === "SET")).toHaveLength(3);
});

test("for comparison: @upstash/lock loses its own lock with a reply, and leaves it behind", async () => {
  const id = freshKey();
  proxy.fail(anything, { lose: "reply" });
  const lock = new UpstashLock({ id, redis: new Redis(at()) as never, retry: { attempts: 1, delay: 0 } });
  expect(await lock.acquire()).toBe(false);
  expect(await backend.raw.get(id)).not.toBe(null);
});

test("an aborted request of a client never makes a holder", async () => {
  const key = freshKey();
  for (const enableAutoPipelining of [true, false]) {
    const controller = new AbortController();
    const redis = new Redis({ ...at(), signal: controller.signal, enableAutoPipelining });
    const locker = createLocker({ redis, requestTimeout: 300 });
    controller.abort();
    await expect(locker.acquire(key)).rejects.toBeInstanceOf(LockUnavailableError);
    expect(await value(key)).toBe(null);
  }
});

function expectNoToken(error: Error & { cause?: Error }): void {
  const text = [
    error.message,
    error.stack,
    error.cause?.message,
    error.cause?.stack,
    JSON.stringify(error),
  ].join();
  expect(text).not.toContain(backend.server.token);
  expect(text).not.toMatch(/s2:[0-9a-f]{32}/);
}
