import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryRedis } from "../../src/testing/memory-redis.ts";
import { type StealOperation, swapScript } from "../../src/web-locks/steal.ts";
import { type Backend, engines, freshKey } from "../helpers/backends.ts";

const operation: StealOperation = "swap";

describe.each(engines)("the script of a steal on $engine", ({ missing, start }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await start();
    });
    afterAll(() => backend?.close());

    test.each([
      ["changes a value that is as it was seen", "seen", 1, "next"],
      ["leaves any other value", "another", 0, "another"],
      ["leaves a lock that is free", undefined, 0, null],
      ["leaves all as it is once the steal was given up", "seen", 0, "seen", "given up"],
    ])("%s, and so does the model in memory", async (_, there, reply, after, gone?) => {
      const key = freshKey();
      const memory = createMemoryRedis({ now: () => Date.now(), publish: () => 0 });
      if (there !== undefined) {
        await backend.raw.set(key, there, "PX", 60_000);
        memory.command("SET", key, there, "PX", "60000");
      }
      if (gone !== undefined) {
        await backend.raw.set(`${key}:gone`, "1", "PX", 60_000);
        memory.command("SET", `${key}:gone`, "1", "PX", "60000");
      }
      const args = [2, key, `${key}:gone`, "seen", "next", 30_000, operation] as const;
      expect(await backend.raw.eval(swapScript(), ...args)).toBe(reply);
      expect(memory.command("EVAL", "", ...args.map(String))).toBe(reply);
      expect(await backend.raw.get(key)).toBe(after);
      expect(memory.command("GET", key)).toBe(after);
      if (reply === 1) expect(await backend.raw.pttl(key)).toBeLessThanOrEqual(30_000);
    });
  });
});
