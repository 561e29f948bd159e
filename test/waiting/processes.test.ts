import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Backend, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { type Child, runChild } from "../helpers/child.ts";
import { type StreamFault, startProxy } from "../helpers/proxy.ts";
import { channelOf, holderOf, queueOf, until, vanished, wait, waitersOf } from "../helpers/waiter.ts";

const onTwo = engines.filter(({ engine }) => !engine.includes("DELEX"));

describe.each(onTwo)("processes that wait on $engine", ({ engine, missing, start }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await start();
    });
    afterAll(() => backend?.close());

    const run = (task: string, key: string, options: object, env = {}): Child =>
      runChild("holder.ts", [task, key, JSON.stringify(options)], {
        UPSTASH_REDIS_REST_URL: backend.server.url,
        UPSTASH_REDIS_REST_TOKEN: backend.server.token,
        ...env,
      });

    test.concurrent("a killed holder's lock goes to the first waiter when its lease is over", async () => {
      const key = freshKey();
      const child = run("hold", key, { ttl: 2000, renew: true });
      await child.line("held");
      const locker = lockerAt(backend.server);
      const order: string[] = [];
      const served = [];
      for (const name of ["first", "second"]) {
        const waiter = wait(locker, key);
        await waiter.standing;
        served.push(
          waiter.lock.then((lock) => {
            order.push(name);
            return lock.release();
          }),
        );
      }
      child.process.kill("SIGKILL");
      await child.ended;
      expect(await Promise.all(served)).toEqual([true, true]);
      expect(order).toEqual(["first", "second"]);
      await vanished(backend.raw, key);
    });

    test.concurrent("a killed waiter loses its place, and costs those behind it one liveness lease", async () => {
      const key = freshKey();
      const locker = lockerAt(backend.server);
      const holder = await locker.acquire(key, { ttl: "1m" });
      const child = run("wait", key, { wait: "1h", owner: "killed" });
      await child.line("waiting");
      const next = wait(locker, key, { owner: "next" });
      expect(await next.standing).toBe(1);
      child.process.kill("SIGKILL");
      await child.ended;
      expect(await queueOf(backend.raw, key)).toEqual(["killed", "next"]);
      await holder.release();
      // Granted to the dead one, for as long as that was to count as alive.
      const granted = await holderOf(backend.raw, key);
      if (granted?.owner === "killed") expect(granted.left).toBeLessThanOrEqual(4000);
      await (await next.lock).release();
      await vanished(backend.raw, key);
    });

    /** A holder, a waiter in a process that can be killed, and another behind it. */
    async function queueOfTwo() {
      const key = freshKey();
      const locker = lockerAt(backend.server);
      const holder = await locker.acquire(key, { ttl: "1m" });
      const child = run("wait", key, { wait: "1h", owner: "killed" });
      await child.line("waiting");
      const next = wait(locker, key, { owner: "next" });
      await next.standing;
      const [first] = await waitersOf(backend.raw, key);
      if (!first) throw new Error("nobody stands in the queue");
      return { key, holder, child, first, next };
    }

    test.concurrent("a waiter killed long ago is passed over at the hand-over", async () => {
      const { key, holder, child, first, next } = await queueOfTwo();
      child.process.kill("SIGKILL");
      await child.ended;
      const serverNow = async () => Number((await backend.raw.time())[0]) * 1000;
      await until(async () => first.until < (await serverNow()));
      await holder.release();
      const held = await backend.raw.get(`lock:{${key}}`);
      expect(held).not.toContain("killed");
      await (await next.lock).release();
      await vanished(backend.raw, key);
    });

    test.concurrent("a waiter killed a moment ago is given the lock for a short while: nobody listens", async () => {
      const { key, holder, child, first, next } = await queueOfTwo();
      const listeners = async () => {
        const [, count] = (await backend.raw.pubsub("NUMSUB", channelOf(first))) as unknown[];
        return Number(count);
      };
      await until(async () => (await listeners()) === 1);
      child.process.kill("SIGKILL");
      await until(async () => (await listeners()) === 0);
      await holder.release();
      const granted = await holderOf(backend.raw, key);
      expect(granted?.owner).toBe("killed");
      expect(granted?.left).toBeLessThanOrEqual(2250);
      await (await next.lock).release();
      await vanished(backend.raw, key);
    });

    const clients: [string, Record<string, string>][] = [
      ["the built-in client", {}],
      ["@upstash/redis", { USE_UPSTASH: "1" }],
    ];
    // How a process ends, the engine has no part in.
    if (engine === "a real Redis") return;
    describe.each(clients)("with %s", (_, env) => {
      const streams: [string, StreamFault | undefined][] = [
        ["open", undefined],
        ["refused", { refuse: 404 }],
        ["silent", { silent: true }],
        ["never answered", { hang: true }],
      ];
      test.concurrent.each(streams)(
        "a process that waited, by a stream that is %s, exits by itself after its release",
        async (_, fault) => {
          const key = freshKey();
          const proxy = await startProxy(backend.server.url);
          proxy.failStreams(fault);
          const holder = await lockerAt(backend.server).acquire(key, { ttl: "1m" });
          const child = run("wait", key, { wait: "1h" }, { ...env, UPSTASH_REDIS_REST_URL: proxy.url });
          await child.line("waiting");
          await holder.release();
          expect(await child.line("released")).toBe("released true");
          // Were a stream or a timer of ours left, it would live on until the test's own limit.
          expect(await child.ended).toBe(0);
          await proxy.close();
          await vanished(backend.raw, key);
        },
      );

      test.concurrent("a process that waited in vain exits by itself", async () => {
        const key = freshKey();
        const holder = await lockerAt(backend.server).acquire(key, { ttl: "1m" });
        const child = run("wait", key, { wait: 300 }, env);
        expect(await child.line("failed")).toBe("failed LockBusyError");
        expect(await child.ended).toBe(0);
        expect(await queueOf(backend.raw, key)).toEqual([]);
        await holder.release();
        await vanished(backend.raw, key);
      });
    });
  });
});
