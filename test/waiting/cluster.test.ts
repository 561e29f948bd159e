import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { createLocker, LockBusyError, type Locker, LockLostError } from "../../src/index.ts";
import { freshKey } from "../helpers/backends.ts";
import { hasRedisServer, type RunningRedis, startRedis } from "../helpers/redis-server.ts";
import { queueOf, until } from "../helpers/waiter.ts";

describe.skipIf(!hasRedisServer)("several keys on a cluster (needs redis-server)", () => {
  let redis: RunningRedis;
  let raw: Redis;
  let server: DevServer;
  let locker: Locker;
  beforeAll(async () => {
    redis = await startRedis({ args: ["--cluster-enabled", "yes"] });
    raw = new Redis(redis.url);
    await raw.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383);
    await until(async () => `${await raw.call("CLUSTER", "INFO")}`.includes("cluster_state:ok"));
    server = await startDevServer({ redis: redis.url });
    locker = createLocker({ url: server.url, token: server.token });
  });
  afterAll(async () => {
    await server?.close();
    raw?.disconnect();
    await redis?.close();
  });

  const three = (): [string, string, string] => [freshKey(), freshKey(), freshKey()];
  const isFree = async (key: string) => (await locker.tryAcquire(key))?.release() ?? false;

  test("are taken one after another, extended and released", async () => {
    const keys = three();
    const lock = await locker.acquire(keys);
    expect(lock.held).toBe(true);
    for (const key of keys) expect(await isFree(key)).toBe(false);
    expect(await lock.extend("1m")).toBe(true);
    expect(lock.remaining).toBeGreaterThan(30_000);
    expect(await lock.release()).toBe(true);
    for (const key of keys) expect(await isFree(key)).toBe(true);
    // The cluster is asked for several at once no more.
    const before = server.meter();
    await (await locker.acquire(keys)).release();
    expect(server.meter().requests - before.requests).toBe(6);
  });

  test("of which one is busy are none of them taken", async () => {
    const keys = three();
    const holder = await locker.acquire(keys[1]);
    const error = await locker.acquire(keys).catch((error) => error);
    expect(error).toBeInstanceOf(LockBusyError);
    expect(error.key).toBe(keys[1]);
    expect([await isFree(keys[0]), await isFree(keys[2])]).toEqual([true, true]);
    await holder.release();
  });

  test("are waited for, and lost together", async () => {
    const keys = three();
    const holder = await locker.acquire(keys[1]);
    const waiting = locker.acquire(keys, { wait: "1m" });
    await until(async () => (await queueOf(raw, keys[1])).length === 1);
    await holder.release();
    const lock = await waiting;
    await raw.del(`lock:{${keys[2]}}`);
    expect(await lock.extend()).toBe(false);
    expect(lock.signal.reason).toBeInstanceOf(LockLostError);
    await until(async () => (await isFree(keys[0])) && (await isFree(keys[1])));
  });
});
