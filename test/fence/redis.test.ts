import { Redis } from "@upstash/redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FencedLock, fencedSet, fenceKit, redisFence } from "../../src/fence/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { type Backend, engines } from "../helpers/backends.ts";

describe.each(engines)("on $engine", ({ missing, start }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    let redis: Redis;
    beforeAll(async () => {
      backend = await start();
      redis = new Redis(backend.server);
    });
    afterAll(() => backend?.close());

    const saved = () => redis.get("balance");

    function set(lock: FencedLock, value: string): Promise<unknown> {
      const { script, keys, args } = fencedSet(lock, "balance", value);
      return redis.eval(script, keys, args);
    }

    test("fencedSet keeps a stale holder out, in every order, and lets all others in", () =>
      fenceKit(set, { read: saved }));

    test("a script behind redisFence has its own keys and arguments where they were", async () => {
      function append(lock: FencedLock, value: string): Promise<unknown> {
        const { prefix, keys, args } = redisFence(lock);
        const script = `${prefix}redis.call("SET", KEYS[2], ARGV[1]) return redis.call("SET", KEYS[1], ARGV[2])`;
        return redis.eval(script, ["balance", "last", ...keys], ["before", value, ...args]);
      }
      await fenceKit(append, { read: saved });
      expect(await redis.get("last")).toBe("before");
    });

    test("a connected client runs it too", async () => {
      const fence = 1_795_728_432_796;
      const run = (fence: number) => {
        const { script, keys, args } = fencedSet({ keys: ["connected"], fence }, "balance", `${fence}`);
        return backend.raw.eval(script, keys.length, ...keys, ...args);
      };
      expect(await run(fence)).toBe("OK");
      await expect(run(fence - 1)).rejects.toThrow(/^STALEFENCE /);
      expect(await backend.raw.get("balance")).toBe(`${fence}`);
    });

    test("of several keys, stale for one of them is stale, and writes none of the tokens", async () => {
      const fence = 1_795_728_432_796;
      await set({ keys: ["a"], fence: fence + 2 }, "one");
      await expect(set({ keys: ["b", "a"], fence }, "stale")).rejects.toThrow("STALEFENCE");
      await set({ keys: ["b"], fence: fence - 1 }, "another");
      expect(await saved()).toBe("another");
    });

    test("takes the lock of a locker, and refuses one without a token", async () => {
      const locker = memoryLocker();
      await set(await locker.acquire("order:2", { fencing: true }), "ours");
      expect(await saved()).toBe("ours");
      const unfenced = await locker.acquire("order:3");
      expect(() => redisFence(unfenced)).toThrow(TypeError);
    });
  });
});
