import { readFileSync } from "node:fs";
import { Redis as RawRedis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { release as endLock, inspect, list, pause, setLimit, unpause } from "../../src/admin/index.ts";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { createLocker, type LockEvent, LockUnavailableError } from "../../src/index.ts";
import { forget, singleFlight } from "../../src/single-flight/index.ts";
import { lockManager } from "../../src/web-locks/index.ts";
import { type Backend, clients, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { anything, type Fault, type FaultyProxy, isJoin, startProxy } from "../helpers/proxy.ts";
import { hasRedisServer, type RunningRedis, startRedis } from "../helpers/redis-server.ts";
import { until, wait } from "../helpers/waiter.ts";

let backend: Backend;
let proxy: FaultyProxy;
beforeAll(async () => {
  backend = await (engines[0] as (typeof engines)[0]).start();
});
afterAll(() => backend?.close());
beforeEach(async () => {
  proxy = await startProxy(backend.server.url);
});
afterEach(() => proxy.close());

const value = (key: string) => backend.raw.get(`lock:{${key}}`);
const said = (error: string, status = 400): Fault => ({
  answer: { status, type: "application/json", body: JSON.stringify({ error }) },
});

const momentary = [
  "READONLY You can't write against a read only replica.",
  "READONLY You can't write against a read only replica. script: 9b4b9, on @user_script:3.",
  "ERR Error running script (call to f_9b4b9): @user_script:12: -READONLY You can't write against a read only replica.",
  "ERR Error running script (call to f_9b4b9): @user_script: 12: -OOM x @user_script:12: -LOADING wait",
  "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
  "LOADING Redis is loading the dataset in memory",
  "TRYAGAIN Multiple keys request during rehashing of slot",
  "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
  "CLUSTERDOWN The cluster is down",
  "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
  "NOREPLICAS Not enough good replicas to write.",
  "MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk.",
  "ERR max requests limit exceeded. Limit: 10000, Usage: 10000. See https://upstash.com/docs",
  "ERR max daily request limit exceeded. Limit: 10000, Usage: 10001.",
  "ERR max concurrent connections exceeded",
  "ERR max number of clients reached",
];
const lasting = [
  "NOPERM this user has no permissions to run the 'set' command",
  "WRONGPASS invalid or missing auth token",
  "WRONGTYPE Operation against a key holding the wrong kind of value",
  "ERR value is not an integer or out of range: ' READONLY BUSY LOADING '",
  "ERR max key size exceeded",
];

describe.each(clients)("what Redis refuses, with $client", ({ connect }) => {
  const locker = (options = {}) =>
    createLocker({ ...connect({ url: proxy.url, token: backend.server.token }), ...options });

  /** All at once: each waits for pauses between its tries. Each has a locker of its own. */
  const forEach = (errors: string[], check: (error: string) => Promise<void>) =>
    Promise.all(
      errors.map((error) =>
        check(error).catch((cause) => {
          throw new Error(`after ${error}`, { cause });
        }),
      ),
    );

  test("is asked again where that may help", async () => {
    await forEach(momentary, async (error) => {
      const key = freshKey();
      proxy.fail((words) => words.includes(`lock:{${key}}`), said(error));
      const lock = await locker().acquire(key);
      expect(lock.held).toBe(true);
      await lock.release();
    });
  });

  test("does not end a wait where that may help", async () => {
    await forEach(momentary, async (error) => {
      const key = freshKey();
      const joins = (words: unknown[]) => isJoin(words) && words.includes(`lock:{${key}}`);
      const holder = await lockerAt(backend.server).acquire(key, { ttl: "1m" });
      const waiter = wait(locker(), key);
      await waiter.standing;
      // Longer than the tries of one question.
      proxy.fail(joins, ...Array.from({ length: 6 }, () => said(error)));
      await until(() => proxy.count(joins) > 6);
      await holder.release();
      await (await waiter.lock).release();
    });
  });

  test.each(lasting)("is asked once where that would change nothing: %s", async (error) => {
    proxy.fail((words) => words.includes("NX"), said(error));
    const failure = await locker()
      .acquire(freshKey())
      .catch((error) => error);
    expect(failure).toBeInstanceOf(LockUnavailableError);
    expect(proxy.count((words) => words.includes("NX"))).toBe(1);
  });

  test("may have been executed by half: the lock that a script took before it failed is released", async () => {
    const key = freshKey();
    await backend.raw.set(`lock:{${key}}:fence`, "not a number");
    await expect(locker().acquire(key, { fencing: true, ttl: "1h" })).rejects.toBeInstanceOf(
      LockUnavailableError,
    );
    await until(async () => (await value(key)) === null);
  });

  test("may come from a gateway after the request was executed: the lock is released", async () => {
    const key = freshKey();
    const held = createLocker({ url: backend.server.url, token: backend.server.token });
    proxy.fail(anything, { swallow: "reply" }, said("NOPERM said the gateway", 403));
    await expect(locker({ requestTimeout: 500, ttl: "1h" }).acquire(key)).rejects.toBeInstanceOf(
      LockUnavailableError,
    );
    await until(async () => (await value(key)) === null);
    expect(await held.tryAcquire(key)).not.toBe(null);
  });
});

test("Upstash's capacity that is used up costs no holder its lock, and ends no wait", async () => {
  const key = freshKey();
  const locker = createLocker({ url: proxy.url, token: backend.server.token });
  const holder = await locker.acquire(key);
  const full = said("ERR DB capacity quota exceeded");
  proxy.fail((words) => words.includes("IFEQ"), full);
  expect(await holder.extend()).toBe(true);
  const waiter = wait(locker, key);
  await waiter.standing;
  proxy.fail(isJoin, full, full);
  await until(() => proxy.count(isJoin) > 3);
  await holder.release();
  await (await waiter.lock).release();
});

test("a server before Redis 7, without SET NX GET, is noticed once, and serves", async () => {
  const old = (words: unknown[]) => words.includes("NX") && words.includes("GET");
  proxy.fail(old, said("ERR syntax error"));
  const locker = createLocker({ url: proxy.url, token: backend.server.token });
  const key = freshKey();
  const lock = await locker.acquire(key, { owner: "the first" });
  expect(await locker.acquire(key).catch((error) => error)).toMatchObject({ owner: "the first" });
  expect(await lock.release()).toBe(true);
  expect(proxy.count(old)).toBe(1);
});

describe.skipIf(!hasRedisServer)("a real Redis", () => {
  let redis: RunningRedis;
  let raw: RawRedis;
  let server: DevServer;
  const start = async (args: string[] = [], user = "") => {
    redis = await startRedis({ args });
    raw = new RawRedis(redis.url, { enableReadyCheck: false });
    return async (options = {}) => {
      server = await startDevServer({ redis: redis.url.replace("//", `//${user}`), ...options });
      return server;
    };
  };
  afterEach(async () => {
    raw.disconnect();
    await server.close();
    await redis.close();
  });

  test("that is full lets a holder keep its lock, and let it go", async () => {
    const open = await start(["--maxmemory-policy", "noeviction"]);
    for (const extensions of [true, false]) {
      await server?.close();
      const locker = lockerAt(await open({ extensions }));
      const renewed: LockEvent[] = [];
      const onEvent = (event: LockEvent) => event.type === "renewed" && renewed.push(event);
      await locker.withLock("order", { ttl: 600, onEvent }, async (lock) => {
        await raw.config("SET", "maxmemory", "1");
        await until(() => renewed.length >= 4);
        expect(lock.held).toBe(true);
      });
      expect(await raw.exists("lock:{order}")).toBe(0);
      await expect(locker.acquire("another")).rejects.toBeInstanceOf(LockUnavailableError);
      await raw.config("SET", "maxmemory", "0");
    }
  });

  test("that is full keeps a lock for its window, and lets go one that is waited for", async () => {
    const locker = lockerAt(await (await start(["--maxmemory-policy", "noeviction"]))());
    const kept = await locker.acquire("kept", { holdFor: "1h" });
    const holder = await locker.acquire("order");
    const waiter = wait(locker, "order");
    await waiter.standing;
    await raw.config("SET", "maxmemory", "1");
    expect(await kept.release()).toBe(true);
    expect(await raw.pttl("lock:{kept}")).toBeGreaterThan(3_000_000);
    expect(await holder.release()).toBe(true);
    await raw.config("SET", "maxmemory", "0");
    await (await waiter.lock).release();
  });

  test("that turns into a replica for a while does not end a wait", async () => {
    const locker = lockerAt(await (await start())());
    const holder = await locker.acquire("order", { ttl: "1m" });
    const waiter = wait(locker, "order", { ttl: "1m" });
    await waiter.standing;
    await raw.replicaof("127.0.0.1", "1");
    await new Promise((resolve) => setTimeout(resolve, 2000));
    await raw.replicaof("NO", "ONE");
    await holder.release();
    await (await waiter.lock).release();
  });

  const rights = {
    "those of README": "+set +get +del +pexpire +time +eval +mget +pttl +publish",
    "those of a lock that nobody waits for": "+set +get +del +pttl +pexpire +time +eval",
  };
  test.each(Object.entries(rights))(
    "with a user of few rights, %s, takes, renews and releases",
    async (_, allowed) => {
      const open = await start([], "app:pw@");
      const words = `on >pw ~lock:* &sl:* ${allowed} +ping +info +command +script|load +evalsha +subscribe`;
      await raw.call("ACL", "SETUSER", "app", ...words.split(" "));
      const locker = lockerAt(await open({ extensions: false }));
      for (let i = 0; i < 2; i++) {
        const lock = await locker.acquire("order");
        expect(await lock.extend()).toBe(true);
        expect(await lock.release()).toBe(true);
      }
      expect(await raw.exists("lock:{order}")).toBe(0);
    },
  );

  test("with the rights that SECURITY.md names, serves waiters, results, operators and web locks", async () => {
    const open = await start([], "app:pw@");
    const page = readFileSync(new URL("../../SECURITY.md", import.meta.url), "utf8");
    const [, section = ""] = /## A Redis user of few rights\n([\s\S]*?)\n## /.exec(page) ?? [];
    const named = [...section.matchAll(/`([A-Z]+(?: [A-Z]+)*)`/g)].flatMap(([, names = ""]) =>
      names.split(" "),
    );
    const allowed = named.filter((name) => name !== "DELEX").map((name) => `+${name.toLowerCase()}`);
    const dev = "+ping +info +command +script|load +evalsha";
    await raw.call("ACL", "SETUSER", "app", ...`on >pw ~lock:* &sl:* ${dev}`.split(" "), ...allowed);
    const locker = lockerAt(await open({ extensions: false }));
    const holder = await locker.acquire("order", { fencing: true });
    const waiter = wait(locker, "order", { fencing: true });
    await waiter.standing;
    await inspect(locker, "order");
    await endLock(locker, "order", { now: true });
    await (await waiter.lock).release();
    expect(await holder.extend()).toBe(false);
    for (const targets of [["a", "b"], { key: "a", limit: 2 }, { key: "a", mode: "shared" as const }])
      expect(await (await locker.acquire(targets)).release()).toBe(true);
    expect(await singleFlight(locker, "result", { keepFor: "1m" }, () => 1)).toBe(1);
    expect(await singleFlight(locker, "result", { keepFor: "1m" }, () => 2)).toBe(1);
    await forget(locker, "result");
    await pause(locker, "order");
    expect((await inspect(locker, "order")).paused).toBe(true);
    await unpause(locker, "order");
    await setLimit(locker, "order", 2);
    await setLimit(locker, "order", undefined);
    expect((await inspect(locker, "order")).state).toBe("free");
    expect((await list(locker)).locks).toEqual([]);
    const locks = lockManager(locker);
    await locks.request("order", () => locks.request("order", { steal: true }, () => {})).catch(() => {});
    expect((await locks.query()).held).toEqual([]);
  });

  test("with the rights that @upstash/lock needs, takes and releases, and is told of a loss", async () => {
    const open = await start([], "app:pw@");
    const words = "on >pw ~lock:* +set +get +del +eval +ping +info +command +script|load +evalsha";
    await raw.call("ACL", "SETUSER", "app", ...words.split(" "));
    const locker = lockerAt(await open({ extensions: false }));
    expect(await (await locker.acquire("order")).release()).toBe(true);
    const lock = await locker.acquire("order");
    await raw.del("lock:{order}");
    expect(await lock.release()).toBe(false);
  });

  test("that is a cluster serves waiters of every key", async () => {
    const open = await start(["--cluster-enabled", "yes"]);
    await raw.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await until(async () => `${await raw.call("CLUSTER", "INFO")}`.includes("cluster_state:ok"));
    const locker = lockerAt(await open());
    for (const key of ["order:42", "{order}", "}order"]) {
      const holder = await locker.acquire(key, { fencing: true });
      const waiter = wait(locker, key, { fencing: true });
      await waiter.standing;
      await holder.release();
      await (await waiter.lock).release();
    }
  });
});
