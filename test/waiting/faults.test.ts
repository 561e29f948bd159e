import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLocker, LockBusyError, LockUnavailableError } from "../../src/index.ts";
import { type Backend, clients, engines, freshKey } from "../helpers/backends.ts";
import { type Fault, type FaultyProxy, isJoin, isReleaseScript, startProxy } from "../helpers/proxy.ts";
import { acquired, queueOf, until, vanished, wait } from "../helpers/waiter.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await (engines[0] as (typeof engines)[0]).start();
});
afterAll(() => backend?.close());

const it = test.extend<{ proxy: FaultyProxy }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads from it that nothing else is needed
  proxy: async ({}, use) => {
    const proxy = await startProxy(backend.server.url);
    await use(proxy);
    await proxy.close();
  },
});

const value = (key: string) => backend.raw.get(`lock:{${key}}`);
const times = (count: number, fault: Fault): Fault[] => Array.from({ length: count }, () => fault);

const damage: [string, Fault[]][] = [
  ["whose reply is lost", [{ lose: "reply" }]],
  ["whose reply is lost three times", times(3, { lose: "reply" })],
  ["whose reply never comes", [{ swallow: "reply" }]],
  ["that arrives twice", times(3, { repeat: true })],
];

/** Not the one that only settles what @upstash/redis may have made up. */
const stands = (words: unknown[]) => isJoin(words) && Number(words.at(-2)) > 0;

const builds = clients.filter(({ client }) => !client.includes("cloudflare"));

describe.each(builds)("the scripts of the queue through $client", ({ connect }) => {
  // Short, so that what is never answered is given up soon, and the marks of it vanish soon.
  const lockerAt = ({ url }: { url: string }) =>
    createLocker({ ...connect({ url, token: backend.server.token }), ttl: "1m", requestTimeout: 1500 });

  it.concurrent.for(damage)("a join %s stands in one place", async ([, faults], { proxy }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    proxy.fail(isJoin, ...faults);
    const first = wait(lockerAt(proxy), key, { owner: "first" });
    expect(await first.standing).toBe(0);
    const second = wait(lockerAt(backend.server), key, { owner: "second" });
    expect(await second.standing).toBe(1);
    expect(await queueOf(backend.raw, key)).toEqual(["first", "second"]);
    expect(await holder.release()).toBe(true);
    const lock = await first.lock;
    expect(acquired(second)).toBe(undefined);
    expect(await value(key)).toContain(lock.token);
    expect(await lock.release()).toBe(true);
    await (await second.lock).release();
    await proxy.settled();
    await vanished(backend.raw, key);
  });

  it.concurrent.for(damage)(
    "a join %s, after the lock was handed over, keeps it",
    async ([, faults], { proxy }) => {
      const key = freshKey();
      proxy.failStreams({ silent: true });
      const holder = await lockerAt(backend.server).acquire(key);
      const waiter = wait(lockerAt(proxy), key);
      await waiter.standing;
      const second = wait(lockerAt(backend.server), key);
      await second.standing;
      proxy.fail(isJoin, ...faults);
      await holder.release();
      const lock = await waiter.lock;
      expect(await value(key)).toContain(lock.token);
      expect(lock.remaining).toBeLessThanOrEqual(await backend.raw.pttl(`lock:{${key}}`));
      expect(acquired(second)).toBe(undefined);
      expect(await lock.release()).toBe(true);
      await (await second.lock).release();
      await proxy.settled();
      await vanished(backend.raw, key);
    },
  );

  it.concurrent.for(damage)("a release %s hands over once", async ([, faults], { proxy }) => {
    const key = freshKey();
    const holder = await lockerAt(proxy).acquire(key);
    const first = wait(lockerAt(backend.server), key);
    await first.standing;
    const second = wait(lockerAt(backend.server), key);
    await second.standing;
    proxy.fail(isReleaseScript, ...faults);
    expect(await holder.release()).toBe(true);
    const lock = await first.lock;
    await proxy.settled();
    expect(await value(key)).toContain(lock.token);
    expect(acquired(second)).toBe(undefined);
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
    await (await second.lock).release();
    await vanished(backend.raw, key);
  });

  it.concurrent.for(damage)("a leaving %s leaves", async ([, faults], { proxy }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    proxy.fail(isReleaseScript, ...faults);
    const leaving = wait(lockerAt(proxy), key, { wait: 200, owner: "leaving" });
    await leaving.standing;
    const staying = wait(lockerAt(backend.server), key, { owner: "staying" });
    await staying.standing;
    expect(await leaving.failure).toBeInstanceOf(LockBusyError);
    expect(await queueOf(backend.raw, key)).toEqual(["staying"]);
    await holder.release();
    await (await staying.lock).release();
    await proxy.settled();
    await vanished(backend.raw, key);
  });

  it.concurrent("a join that arrives after its waiter was aborted takes nothing", async ({ proxy }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    let arrive = () => {};
    proxy.fail(stands, { holdUntil: new Promise<void>((resolve) => (arrive = resolve)) });
    const controller = new AbortController();
    const waiter = wait(lockerAt(proxy), key, { signal: controller.signal });
    await until(() => proxy.count(stands) > 0);
    controller.abort(new Error("enough"));
    expect((await waiter.failure).message).toBe("enough");
    const marked = async () => (await backend.raw.keys(`lock:{${key}}:gone:*`)).length;
    await until(marked);
    await holder.release();
    arrive();
    await proxy.settled();
    expect(await marked()).toBe(1);
    expect(await value(key)).toBe(null);
    expect(await queueOf(backend.raw, key)).toEqual([]);
    const next = await lockerAt(backend.server).acquire(key);
    await next.release();
    await vanished(backend.raw, key);
  });

  it.concurrent("a join that arrives after its own repetition, lock and release takes nothing", async ({
    proxy,
  }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    let arrive = () => {};
    proxy.fail(stands, { holdUntil: new Promise<void>((resolve) => (arrive = resolve)) });
    const waiter = wait(lockerAt(proxy), key, { requestTimeout: 600 });
    await waiter.standing;
    await holder.release();
    const lock = await waiter.lock;
    expect(await lock.release()).toBe(true);
    arrive();
    await proxy.settled();
    await until(async () => (await value(key)) === null);
    await vanished(backend.raw, key);
  });

  it.concurrent("a wait whose requests are all lost ends with its limit, and leaves nothing", async ({
    proxy,
  }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    const waiter = wait(lockerAt(proxy), key, { wait: 300, requestTimeout: 400 });
    proxy.fail(isJoin, ...times(20, { hang: true }));
    const started = performance.now();
    const error = await waiter.failure;
    // What is not known to be busy is unavailable; ample for a busy machine.
    expect(performance.now() - started).toBeLessThan(3000);
    expect([LockUnavailableError, LockBusyError]).toContain(error.constructor);
    await holder.release();
    await vanished(backend.raw, key);
  });

  it.concurrent("an outage longer than a request and its repetitions does not end a wait", async ({
    proxy,
  }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    const waiter = wait(lockerAt(proxy), key, { requestTimeout: 100 });
    await waiter.standing;
    const asked = proxy.count(isJoin);
    // Of one poll no more than five are sent.
    proxy.fail(isJoin, ...times(11, { cut: true }));
    await until(() => proxy.count(isJoin) > asked + 11);
    await holder.release();
    await (await waiter.lock).release();
    await vanished(backend.raw, key);
  });

  it.concurrent("a wait goes on through lost requests of one poll, in the same place", async ({ proxy }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    const first = wait(lockerAt(proxy), key, { owner: "first" });
    await first.standing;
    const second = wait(lockerAt(backend.server), key, { owner: "second" });
    await second.standing;
    const asked = proxy.count(isJoin);
    proxy.fail(isJoin, ...times(2, { cut: true }));
    await until(() => proxy.count(isJoin) >= asked + 3);
    await proxy.settled();
    expect(await queueOf(backend.raw, key)).toEqual(["first", "second"]);
    await holder.release();
    await (await first.lock).release();
    await (await second.lock).release();
    await vanished(backend.raw, key);
  });
});
