import { setTimeout as delay } from "node:timers/promises";
import { Lock as UpstashLock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLocker, type Locker } from "../../src/index.ts";
import { type Backend, clients, engines, freshKey } from "../helpers/backends.ts";
import { type FaultyProxy, isJoin, startProxy } from "../helpers/proxy.ts";
import { Version1 } from "../helpers/version-1.ts";
import { acquired, until, vanished, wait } from "../helpers/waiter.ts";

const [rest, upstash] = clients as [(typeof clients)[0], (typeof clients)[0]];
const pairs = [
  ...engines.map((engine) => ({ ...engine, ...rest })),
  ...engines.slice(0, 1).map((engine) => ({ ...engine, ...upstash })),
];

const deleteIfEqual =
  "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";

describe.each(pairs)("a mixed fleet, ours through $client on $engine", ({ missing, start, connect }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    let locker: Locker;
    let redis: Redis;
    let proxies: FaultyProxy[];
    beforeAll(async () => {
      backend = await start();
      locker = createLocker({ ...connect(backend.server), ttl: "1m" });
      redis = new Redis({ url: backend.server.url, token: backend.server.token });
      proxies = await Promise.all([startProxy(backend.server.url), startProxy(backend.server.url)]);
    });
    afterAll(async () => {
      for (const proxy of proxies ?? []) await proxy.close();
      await backend?.close();
    });

    test("excludes each other at all times, whether they wait, poll, or know nothing of the queue", async () => {
      const key = freshKey();
      const name = `lock:{${key}}`;
      let counter = 0;
      let inside = 0;
      const sections = { waiting: 0, trying: 0, fenced: 0, theirs: 0, plain: 0 };
      const section = async (who: keyof typeof sections) => {
        expect(++inside).toBe(1);
        const read = counter;
        await delay(Math.random() * 3);
        counter = read + 1;
        sections[who]++;
        inside--;
      };
      const rounds = 8;
      const often = async (once: () => Promise<unknown>) => {
        for (let i = 0; i < rounds; i++) {
          await once();
          await delay(Math.random() * 10);
        }
      };

      const waiting = () => often(() => locker.withLock(key, { wait: "1h" }, () => section("waiting")));
      const fenced = () =>
        often(() => locker.withLock(key, { wait: "1h", fencing: true }, () => section("fenced")));
      const trying = () =>
        often(async () => {
          const lock = await until(() => locker.tryAcquire(key));
          await section("trying");
          expect(await lock?.release()).toBe(true);
        });
      const theirs = () =>
        often(async () => {
          // Its declarations name the CommonJS build's Redis, which TypeScript takes for another class.
          const lock = new UpstashLock({
            id: name,
            redis: redis as never,
            lease: 60_000,
            retry: { attempts: 100_000, delay: 5 },
          });
          expect(await lock.acquire()).toBe(true);
          await section("theirs");
          expect(await lock.release()).toBe(true);
        });
      const plain = () =>
        often(async () => {
          const token = `plain ${Math.random()}`;
          await until(() => backend.raw.set(name, token, "PX", 60_000, "NX"));
          await section("plain");
          expect(await backend.raw.eval(deleteIfEqual, 1, name, token)).toBe(1);
        });

      const parts = [waiting, waiting, waiting, fenced, trying, trying, theirs, theirs, plain, plain];
      await Promise.all(parts.map((part) => part()));
      expect(sections).toEqual({ waiting: 24, trying: 16, fenced: 8, theirs: 16, plain: 16 });
      expect(counter).toBe(80);
      await vanished(backend.raw, key);
    });

    test("is asked often by the first waiter behind a holder that hands nothing over, and by no other", async () => {
      const key = freshKey();
      const name = `lock:{${key}}`;
      await backend.raw.set(name, "another library's", "PX", 60_000);
      const [at, behind] = proxies.map(({ url }) => ({ url, token: backend.server.token }));
      const [front, back] = proxies as [FaultyProxy, FaultyProxy];
      const first = wait(createLocker(connect(at as NonNullable<typeof at>)), key);
      await first.standing;
      const second = wait(createLocker(connect(behind as NonNullable<typeof behind>)), key);
      await second.standing;
      const [asked, askedBehind] = [front.count(isJoin), back.count(isJoin)];
      await until(() => front.count(isJoin) >= asked + 10);
      expect(back.count(isJoin) - askedBehind).toBeLessThanOrEqual(5);
      // Its owner could not release it, were it marked.
      expect(await backend.raw.get(name)).toBe("another library's");
      expect(acquired(first)).toBe(undefined);
      expect(await backend.raw.eval(deleteIfEqual, 1, name, "another library's")).toBe(1);
      await (await first.lock).release();
      await (await second.lock).release();
      await vanished(backend.raw, key);
    });

    test("keeps the waiters' order where a foreigner came in between", async () => {
      const key = freshKey();
      const name = `lock:{${key}}`;
      await backend.raw.set(name, "another library's", "PX", 60_000);
      const order: number[] = [];
      const served = [];
      for (let i = 0; i < 3; i++) {
        const waiter = wait(locker, key);
        expect(await waiter.standing).toBe(i);
        served.push(
          waiter.lock.then((lock) => {
            order.push(i);
            return lock.release();
          }),
        );
      }
      await backend.raw.eval(deleteIfEqual, 1, name, "another library's");
      expect(await Promise.all(served)).toEqual([true, true, true]);
      expect(order).toEqual([0, 1, 2]);
      await vanished(backend.raw, key);
    });

    test("lets a holder of version 1 keep and release its own, with waiters of both versions behind it", async () => {
      const key = freshKey();
      const old = new Version1(backend.raw, key, "11111111-0000-4000-8000-000000000000");
      const oldWaiter = new Version1(backend.raw, key, "22222222-0000-4000-8000-000000000000");
      expect(await old.tryAcquire()).toBe(true);
      const held = await backend.raw.get(`lock:{${key}}`);
      expect(await locker.tryAcquire(key)).toBe(null);
      const waiter = wait(locker, key);
      await waiter.standing;
      expect(await backend.raw.get(`lock:{${key}}`)).toBe(held);
      expect(await oldWaiter.join()).toBe(false);
      expect(acquired(waiter)).toBe(undefined);
      // Handed over by its own release to the waiter of its own version.
      expect(await old.release()).toBe(true);
      expect(acquired(waiter)).toBe(undefined);
      expect(await oldWaiter.join()).toBe(true);
      expect(await oldWaiter.release()).toBe(true);
      await (await waiter.lock).release();
      await vanished(backend.raw, key);
    });

    test("never has two in while a fleet is changed from version 1 to this one", async () => {
      const key = freshKey();
      let inside = 0;
      const served = { old: 0, new: 0 };
      const section = async (who: keyof typeof served) => {
        expect(++inside).toBe(1);
        await delay(Math.random() * 3);
        served[who]++;
        inside--;
      };
      const old = async (i: number) => {
        for (let round = 0; round < 8; round++) {
          const client = new Version1(backend.raw, key, `${i}000000${round}-0000-4000-8000-000000000000`);
          await until(() => client.join());
          await section("old");
          expect(await client.release()).toBe(true);
        }
      };
      const current = async () => {
        for (let round = 0; round < 8; round++)
          await locker.withLock(key, { wait: "1h" }, () => section("new"));
      };
      await Promise.all([old(1), current(), old(2), current(), old(3), current()]);
      expect(served).toEqual({ old: 24, new: 24 });
      await vanished(backend.raw, key);
    });

    test("who leaves after another took the lock past it stands in no queue any more", async () => {
      const key = freshKey();
      const name = `lock:{${key}}`;
      await backend.raw.set(name, "another's", "PX", 60_000);
      const abort = new AbortController();
      const waiter = wait(locker, key, { signal: abort.signal });
      await waiter.standing;
      const taken = `s2:${"a".repeat(32)}:60000:1:who came later`;
      await backend.raw.set(name, taken, "PX", 60_000);
      abort.abort(new Error("it leaves"));
      await waiter.failure;
      await until(async () => (await backend.raw.exists(`${name}:waiters`)) === 0);
      expect(await backend.raw.get(name)).not.toContain("\nw ");
      await backend.raw.del(name);
    });
  });
});
