import { Lock as UpstashLock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inspect, pause, release, setLimit, unpause } from "../../src/admin/index.ts";
import { createLocker, type Locker } from "../../src/index.ts";
import { singleFlight } from "../../src/single-flight/index.ts";
import { type Backend, backends, freshKey } from "../helpers/backends.ts";

describe.each(backends)("beside @upstash/lock, through $client on $engine", ({ missing, start, connect }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    let locker: Locker;
    let redis: Redis;
    beforeAll(async () => {
      backend = await start();
      locker = createLocker(connect(backend.server));
      redis = new Redis({ url: backend.server.url, token: backend.server.token });
    });
    afterAll(() => backend?.close());

    const theirs = (key: string) =>
      // Its declarations name the CommonJS build's Redis, which TypeScript takes for another class.
      new UpstashLock({
        id: `lock:{${key}}`,
        redis: redis as never,
        lease: 60_000,
        retry: { attempts: 1, delay: 0 },
      });

    test("a lock held by one library excludes the other, and each releases only its own", async () => {
      const key = freshKey();
      const ours = await locker.acquire(key);
      expect(await theirs(key).acquire()).toBe(false);
      expect(await ours.release()).toBe(true);

      const lock = theirs(key);
      expect(await lock.acquire()).toBe(true);
      const error = await locker.acquire(key, { wait: 60 }).catch((error) => error);
      expect(error).toMatchObject({ code: "LOCK_BUSY", owner: undefined });
      expect(await lock.getStatus()).toBe("ACQUIRED");
      expect(await lock.release()).toBe(true);
      expect(await backend.raw.exists(`lock:{${key}}`)).toBe(0);
    });

    test("the owner of a plain SET NX, whatever its value, excludes us too", async () => {
      for (const value of ["sl:", "123", "true", '{"a":1}', "a\nb"]) {
        const key = freshKey();
        await backend.raw.set(`lock:{${key}}`, value, "PX", 60_000);
        expect(await locker.tryAcquire(key)).toBe(null);
        expect(await locker.tryAcquire(key, { fencing: true })).toBe(null);
        expect(await backend.raw.get(`lock:{${key}}`)).toBe(value);
      }
    });

    test("another library's list or hash is left as it is, whatever is asked for", async () => {
      for (const kind of ["list", "hash"]) {
        const key = freshKey();
        const at = `lock:{${key}}`;
        await (kind === "list" ? backend.raw.rpush(at, "x") : backend.raw.hset(at, "x", "y"));
        const ways: (() => Promise<unknown>)[] = [
          () => locker.acquire(key),
          () => locker.acquire(key, { wait: 60 }),
          () => locker.acquire(key, { fencing: true }),
          () => locker.acquire({ key, limit: 2 }),
          () => locker.acquire({ key, mode: "shared" }, { wait: 60 }),
          () => locker.acquire([`${key}-beside`, key]),
          () => singleFlight(locker, key, { keepFor: 0, wait: 0 }, () => {}),
        ];
        for (const ask of ways)
          await expect(ask()).rejects.toMatchObject({
            code: expect.stringMatching(/^LOCK_(UNAVAILABLE|BUSY)$/),
          });
        await pause(locker, key);
        expect(await inspect(locker, key)).toMatchObject({ state: "foreign", paused: true });
        await setLimit(locker, key, 5);
        await unpause(locker, key);
        await setLimit(locker, key, undefined);
        expect(await backend.raw.type(at)).toBe(kind);
        const left = await backend.raw.keys(`lock:{${key}*`);
        expect(left.filter((each) => !each.includes(":gone:"))).toEqual([at]);
        expect(await inspect(locker, key)).toMatchObject({
          state: "foreign",
          holders: [{ mode: "exclusive" }],
        });
        expect(await release(locker, key)).toMatchObject({ released: false });
        expect(await backend.raw.type(at)).toBe(kind);
        expect(await release(locker, key, { now: true })).toMatchObject({ released: true });
        await (await locker.acquire(key)).release();
      }
    });

    test("of 40 concurrent acquires, half of each library, one gets in", async () => {
      const key = freshKey();
      const results = await Promise.all(
        Array.from({ length: 40 }, (_, i) => (i % 2 ? theirs(key).acquire() : locker.tryAcquire(key))),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      await backend.raw.del(`lock:{${key}}`);
    });
  });
});
