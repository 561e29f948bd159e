import { describe, expect, test } from "vitest";
import { hasRedisServer, startRedis } from "./redis-server.ts";

describe.skipIf(!hasRedisServer)("the redis-server helper (needs redis-server)", () => {
  test("starts servers beside each other and ends them", async () => {
    const [a, b] = await Promise.all([startRedis(), startRedis()]);
    expect(a.port).not.toBe(b.port);
    expect(process.kill(a.pid, 0)).toBe(true);
    await Promise.all([a.close(), b.close()]);
    expect(() => process.kill(a.pid, 0)).toThrow("ESRCH");
  });

  test("says why a server did not start", async () => {
    const redis = await startRedis();
    await expect(startRedis({ port: redis.port })).rejects.toThrow(/did not start on port \d+:[\s\S]*in use/);
    await redis.close();
  });
});
