import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { startDevServer } from "../../src/dev/index.ts";
import { lockerAt } from "../helpers/backends.ts";
import { hasRedisServer, startRedis } from "../helpers/redis-server.ts";
import { listening, until, vanished, wait } from "../helpers/waiter.ts";

test.skipIf(!hasRedisServer)(
  "a Redis that is full lets its waiters stay in the queue, and a lock be handed over",
  async () => {
    const redis = await startRedis();
    const server = await startDevServer({ redis: redis.url });
    const raw = new Redis(redis.url);
    try {
      const locker = lockerAt(server, { ttl: "1m" });
      const holder = await locker.acquire("k");
      const [first, second] = [wait(locker, "k"), wait(locker, "k")];
      await Promise.all([first.standing, second.standing]);
      await listening(raw, "k");
      await raw.config("SET", "maxmemory-policy", "noeviction");
      await raw.config("SET", "maxmemory", "1");
      await expect(raw.set("another", "x")).rejects.toThrow("OOM");
      // Both ask again, and keep their places.
      await until(() => [first, second].every(({ events }) => events.length > 1));
      expect(await holder.extend("2m")).toBe(true);
      expect(await holder.release()).toBe(true);
      await Promise.race([first.lock, second.lock]).then((lock) => lock.release());
      await Promise.all([first.lock, second.lock]).then((locks) =>
        Promise.all(locks.map((lock) => lock.release())),
      );
      await vanished(raw, "k");
    } finally {
      raw.disconnect();
      await server.close();
      await redis.close();
    }
  },
);

test.skipIf(!hasRedisServer)(
  "a Redis that is full lets permits, readers and several keys be extended and released",
  async () => {
    const redis = await startRedis();
    const server = await startDevServer({ redis: redis.url });
    const raw = new Redis(redis.url);
    try {
      const locker = lockerAt(server, { ttl: "1m" });
      const locks = await Promise.all([
        locker.acquire({ key: "permits", limit: 3 }),
        locker.acquire({ key: "permits", limit: 3, weight: 2 }),
        locker.acquire({ key: "readers", mode: "shared" }),
        locker.acquire({ key: "readers", mode: "shared" }),
        locker.acquire(["a", "b", { key: "c", limit: 2 }]),
        locker.acquire("writer"),
      ]);
      await raw.config("SET", "maxmemory-policy", "noeviction");
      await raw.config("SET", "maxmemory", "1");
      await expect(raw.set("another", "x")).rejects.toThrow("OOM");
      expect(await Promise.all(locks.map((lock) => lock.extend("2m")))).toEqual(locks.map(() => true));
      expect(await locks.at(-1)?.downgrade()).toBe(true);
      for (const { remaining } of locks) expect(remaining).toBeGreaterThan(60_000);
      expect(await Promise.all(locks.map((lock) => lock.release()))).toEqual(locks.map(() => true));
      expect(await raw.keys("lock:*")).toEqual([]);
    } finally {
      raw.disconnect();
      await server.close();
      await redis.close();
    }
  },
);
