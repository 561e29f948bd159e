import { Redis } from "@upstash/redis";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createLocker } from "../../src/index.ts";
import { type Backend, clients, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { type FaultyProxy, isJoin, type StreamFault, startProxy } from "../helpers/proxy.ts";
import { acquired, channelOf, queueOf, until, vanished, wait, waitersOf } from "../helpers/waiter.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await (engines[0] as (typeof engines)[0]).start();
});
afterAll(() => backend?.close());

// @upstash/redis prints whatever breaks a stream.
beforeAll(() => void vi.spyOn(console, "error").mockImplementation(() => {}));
afterAll(() => void vi.restoreAllMocks());

const it = test.extend<{ proxy: FaultyProxy }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads from it that nothing else is needed
  proxy: async ({}, use) => {
    const proxy = await startProxy(backend.server.url);
    await use(proxy);
    await proxy.close();
  },
});

const value = (key: string) => backend.raw.get(`lock:{${key}}`);
const channels = async (key: string) => (await waitersOf(backend.raw, key)).map(channelOf);

/** Resolves right after a waiter was answered: it asks again 750 ms later at the soonest. */
async function afterAPoll(proxy: FaultyProxy): Promise<void> {
  const asked = proxy.count(isJoin);
  await until(() => proxy.count(isJoin) > asked);
  await proxy.settled();
}

const builds = clients.filter(({ client }) => !client.includes("cloudflare"));

describe.each(builds)("the stream of $client", ({ connect }) => {
  const lockerAt = ({ url }: { url: string }) =>
    createLocker({ ...connect({ url, token: backend.server.token }), ttl: "1m" });

  const faults: [string, StreamFault][] = [
    ["refused with 404", { refuse: 404 }],
    ["refused with 500", { refuse: 500 }],
    ["never answered", { hang: true }],
    ["silent", { silent: true }],
    ["ended as soon as it was confirmed", { end: "closed" }],
    ["broken as soon as it was confirmed", { end: "broken" }],
    ["held up after its confirmation", { holdUntil: new Promise(() => {}) }],
  ];
  it.concurrent.for(faults)(
    "where it is %s, the lock is got at the next poll",
    async ([_, fault], { proxy }) => {
      const key = freshKey();
      proxy.failStreams(fault);
      const holder = await lockerAt(backend.server).acquire(key);
      const waiter = wait(lockerAt(proxy), key);
      await waiter.standing;
      await afterAPoll(proxy);
      const asked = proxy.count(isJoin);
      expect(await holder.release()).toBe(true);
      const lock = await waiter.lock;
      expect(await value(key)).toContain(lock.token);
      expect(lock.remaining).toBeGreaterThan(30_000);
      // One may have been on its way already.
      expect(proxy.count(isJoin)).toBeLessThanOrEqual(asked + 2);
      expect(await lock.release()).toBe(true);
      await until(() => proxy.streams.every(({ open }) => !open));
      await vanished(backend.raw, key);
    },
  );

  const nuisances: [string, StreamFault][] = [
    [
      "brings rubbish lines",
      { rubbish: ": ping\n\ndata:\ndata: \ndata: unsubscribe,x,0\n<html>\u0000,,,\n\n" },
    ],
    ["brings each message twice", { duplicate: true }],
  ];
  it.concurrent.for(nuisances)(
    "where it %s, the hand-over comes by message all the same",
    async ([_, fault], { proxy }) => {
      const key = freshKey();
      proxy.failStreams(fault);
      let holder = await lockerAt(backend.server).acquire(key);
      for (let round = 0; round < 3; round++) {
        const first = wait(lockerAt(proxy), key);
        await first.standing;
        const second = wait(lockerAt(proxy), key);
        await second.standing;
        await until(() => proxy.streams.filter(({ open, confirmed }) => open && confirmed).length === 2);
        await holder.release();
        const lock = await first.lock;
        expect(await value(key)).toContain(lock.token);
        // The other's place changed, and nothing that came twice made it a holder.
        expect(acquired(second)).toBe(undefined);
        expect(await lock.release()).toBe(true);
        holder = await second.lock;
        expect(await value(key)).toContain(holder.token);
        expect([first, second].some((waiter) => acquired(waiter)?.granted)).toBe(true);
      }
      await holder.release();
      await vanished(backend.raw, key);
    },
  );

  it.concurrent("a message that is no grant of this stay in the queue makes no holder", async ({ proxy }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    const waiter = wait(lockerAt(proxy), key);
    await waiter.standing;
    await until(() => proxy.streams.some(({ confirmed }) => confirmed));
    const [channel] = (await channels(key)) as [string];
    const ticket = (await waitersOf(backend.raw, key))[0]?.ticket ?? 0;
    const others = [
      "",
      ":",
      "!",
      "1:",
      `${ticket}:`,
      `${ticket - 1}:3750:${ticket}`,
      `${ticket + 1}!`,
      "nil",
      "null",
      "{}",
    ];
    for (const message of others) expect(await backend.raw.publish(channel, message)).toBe(1);
    await afterAPoll(proxy);
    expect(acquired(waiter)).toBe(undefined);
    expect(await value(key)).toContain(holder.token);
    // The stream still works.
    await holder.release();
    await (await waiter.lock).release();
    await vanished(backend.raw, key);
  });

  it.concurrent("a grant published while it was being opened is looked for once it is open", async ({
    proxy,
  }) => {
    const waits: number[] = [];
    for (let round = 0; round < 3; round++) {
      const key = freshKey();
      let open = () => {};
      proxy.failStreams({ openAfter: new Promise<void>((resolve) => (open = resolve)) });
      const holder = await lockerAt(backend.server).acquire(key);
      const waiter = wait(lockerAt(proxy), key);
      await waiter.standing;
      // Published to nobody.
      expect(await holder.release()).toBe(true);
      open();
      await (await waiter.lock).release();
      waits.push(acquired(waiter)?.waited ?? Number.NaN);
      await vanished(backend.raw, key);
    }
    // The next time to ask would be 750 ms after the first at the soonest.
    expect(Math.min(...waits)).toBeLessThan(700);
  });

  it.concurrent("is ended at once when the lock is got, while it is still held", async ({ proxy }) => {
    const key = freshKey();
    const holder = await lockerAt(backend.server).acquire(key);
    const waiter = wait(lockerAt(proxy), key);
    await waiter.standing;
    await until(() => proxy.streams[0]?.confirmed);
    expect(proxy.streams[0]?.open).toBe(true);
    const [channel] = (await channels(key)) as [string];
    await holder.release();
    const lock = await waiter.lock;
    await until(() => !proxy.streams[0]?.open);
    await until(async () => ((await backend.raw.pubsub("NUMSUB", channel)) as unknown[])[1] === 0);
    expect(lock.held).toBe(true);
    await lock.release();
    expect(proxy.streams).toHaveLength(1);
    await vanished(backend.raw, key);
  });

  const endings: [string, StreamFault | undefined][] = [
    ["open", undefined],
    ["silent", { silent: true }],
    ["never answered", { hang: true }],
  ];
  it.concurrent.for(endings)(
    "that is %s is ended at once when the wait is over or aborted",
    async ([_, fault], { proxy }) => {
      const key = freshKey();
      proxy.failStreams(fault);
      const holder = await lockerAt(backend.server).acquire(key);
      const controller = new AbortController();
      const impatient = wait(lockerAt(proxy), key, { wait: 300 });
      const aborted = wait(lockerAt(proxy), key, { signal: controller.signal });
      await Promise.all([impatient.standing, aborted.standing]);
      await until(() => proxy.streams.length === 2);
      await impatient.failure;
      await until(() => proxy.streams.filter(({ open }) => open).length === 1);
      controller.abort(new Error("enough"));
      await aborted.failure;
      await until(() => proxy.streams.every(({ open }) => !open));
      expect(proxy.streams).toHaveLength(2);
      await until(async () => (await queueOf(backend.raw, key)).length === 0);
      await holder.release();
      await vanished(backend.raw, key);
    },
  );

  it.concurrent("is not asked for where the lock is free", async ({ proxy }) => {
    const key = freshKey();
    const lock = await lockerAt(proxy).acquire(key, { wait: "1h" });
    await lock.release();
    expect(proxy.streams).toEqual([]);
    await vanished(backend.raw, key);
  });

  it.concurrent("that was refused is asked for again, and brings the hand-over then", async ({ proxy }) => {
    const key = freshKey();
    proxy.failStreams({ refuse: 503 });
    const holder = await lockerAt(backend.server).acquire(key);
    const waiter = wait(lockerAt(proxy), key);
    await waiter.standing;
    await until(() => proxy.streams.length >= 3);
    proxy.failStreams(undefined);
    await until(() => proxy.streams.some(({ confirmed, open }) => confirmed && open));
    await afterAPoll(proxy);
    const asked = proxy.count(isJoin);
    await holder.release();
    const lock = await waiter.lock;
    expect(acquired(waiter)?.granted).toBe(true);
    expect(proxy.count(isJoin)).toBe(asked);
    await lock.release();
    await vanished(backend.raw, key);
  });
});

// @upstash/redis does not tell that a stream has ended: there, polling finds the lock.
describe("the stream of the built-in REST client", () => {
  it.concurrent("is ended once the work has begun: that takes time, which the work does not wait for", async ({
    proxy,
  }) => {
    const key = freshKey();
    const { token } = backend.server;
    const fetching = vi.spyOn(globalThis, "fetch");
    const holder = await lockerAt(backend.server).acquire(key, { ttl: "1m" });
    const working = lockerAt({ url: proxy.url, token }).withLock(key, { wait: "1m" }, () => {
      const [, init] =
        fetching.mock.calls.find(([url]) => `${url}`.startsWith(`${proxy.url}/subscribe/`)) ?? [];
      return { ended: init?.signal?.aborted };
    });
    await until(() => proxy.streams[0]?.confirmed);
    await holder.release();
    expect(await working).toEqual({ ended: false });
    await until(() => !proxy.streams[0]?.open);
    await vanished(backend.raw, key);
  });

  it.concurrent("that was cut may have missed a grant, which is looked for once it is open again", async ({
    proxy,
  }) => {
    const { token } = backend.server;
    const waits: number[] = [];
    for (let round = 0; round < 3; round++) {
      const key = freshKey();
      const holder = await lockerAt(backend.server).acquire(key, { ttl: "1m" });
      const first = wait(lockerAt(backend.server), key);
      await first.standing;
      const second = wait(lockerAt(backend.server), key);
      await second.standing;
      const waiter = wait(lockerAt({ url: proxy.url, token }), key);
      await waiter.standing;
      const stream = await until(() => proxy.streams.find(({ confirmed, open }) => confirmed && open));
      await proxy.settled();
      let open = () => {};
      proxy.failStreams({ openAfter: new Promise<void>((resolve) => (open = resolve)) });
      const streams = proxy.streams.length;
      stream?.cut();
      await until(() => proxy.streams.length > streams);
      await holder.release();
      await (await first.lock).release();
      // Published to nobody.
      await (await second.lock).release();
      const released = performance.now();
      open();
      proxy.failStreams(undefined);
      await (await waiter.lock).release();
      waits.push(performance.now() - released);
      await vanished(backend.raw, key);
    }
    // The next time to ask would be 750 ms after the first at the soonest.
    expect(Math.min(...waits)).toBeLessThan(400);
  });

  it.concurrent.for(["closed", "broken"] as const)(
    "that ended (%s) is asked for again, and brings the hand-over then",
    async (end, { proxy }) => {
      const key = freshKey();
      const { token } = backend.server;
      const holder = await lockerAt(backend.server).acquire(key, { ttl: "1m" });
      proxy.failStreams({ end });
      const waiter = wait(lockerAt({ url: proxy.url, token }), key);
      await waiter.standing;
      await until(() => proxy.streams.filter(({ confirmed, open }) => confirmed && !open).length >= 2);
      proxy.failStreams(undefined);
      await until(() => proxy.streams.some(({ confirmed, open }) => confirmed && open));
      await afterAPoll(proxy);
      const asked = proxy.count(isJoin);
      await holder.release();
      const lock = await waiter.lock;
      expect(acquired(waiter)?.granted).toBe(true);
      expect(proxy.count(isJoin)).toBe(asked);
      await lock.release();
      await vanished(backend.raw, key);
    },
  );
});

test("the stream of a reader that opens as it comes to stand in the queue may have missed a grant to all readers", async () => {
  const target = { key: freshKey(), mode: "shared" } as const;
  const holder = await lockerAt(backend.server).acquire(target.key, { ttl: "1m" });
  const before = lockerAt(backend.server).acquire(target, { wait: "1m" });
  await until(async () => (await channels(target.key)).length === 1);

  const redis = new Redis({ url: backend.server.url, token: backend.server.token });
  let open = () => {};
  const stream = {
    on(event: string, listener: () => void) {
      if (event === "subscribe") open = listener;
    },
    unsubscribe: async () => {},
  };
  redis.subscribe = () => stream as never;
  const exec = redis.exec.bind(redis);
  let released = false;
  redis.exec = async (command) => {
    const reply: unknown = await exec(command);
    const stands = Array.isArray(reply) && reply.length > 5;
    if (stands && !released) {
      released = true;
      // Both readers are let in. Nobody hears that it is the second one's turn.
      await holder.release();
      open();
    }
    return reply as never;
  };
  const lock = await createLocker({ redis, ttl: "1m" }).acquire(target, { wait: "800ms" });
  expect(lock.held).toBe(true);
  await lock.release();
  await (await before).release();
  await vanished(backend.raw, target.key);
});
