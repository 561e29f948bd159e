import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Lock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { Redis as IORedis } from "ioredis";
import { createLocker } from "serverless-lock";
import { type DevServer, startDevServer } from "serverless-lock/dev";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { pages } from "./pages.ts";

// What the pages for those who come from another lock say, with that lock beside ours.

const folder = new URL("../../.vitest/migration/", import.meta.url);
const peers = new URL("../storm/", import.meta.url);
const withPeers = existsSync(new URL("node_modules/redlock", peers));
const peer = createRequire(new URL("package.json", peers));

/** As much of redlock and redis-semaphore as is used here: they are installed apart. */
interface Redlock {
  acquire(resources: string[], ms: number): Promise<{ release(): Promise<unknown> }>;
  on(event: "error", listener: (error: Error) => void): unknown;
}
interface Mutex {
  tryAcquire(): Promise<boolean>;
  release(): Promise<void>;
}
type Class<T> = new (...args: unknown[]) => T;

let dev: DevServer;

beforeAll(async () => {
  dev = await startDevServer();
  vi.stubEnv("UPSTASH_REDIS_REST_URL", dev.url);
  vi.stubEnv("UPSTASH_REDIS_REST_TOKEN", dev.token);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await dev.close();
});

describe("the code of after the move", () => {
  const done: string[] = [];
  const work = (name: string) => async () => void done.push(name);

  beforeEach(() => {
    done.length = 0;
    for (const name of ["ship", "invoice", "withdraw", "deposit", "buildReport", "ask"])
      vi.stubGlobal(name, work(name));
    for (const [name, value] of Object.entries({
      order: "42",
      from: "anna",
      to: "ben",
      amount: 5,
      prompt: "?",
    }))
      vi.stubGlobal(name, value);
  });

  afterEach(() => vi.unstubAllGlobals());

  test.each([
    ["from-upstash-lock", ["ship", "invoice"]],
    ["from-redlock", ["withdraw", "deposit", "buildReport"]],
    ["from-redis-semaphore", ["ship", "ask"]],
  ])("of %s runs, and does its work", async (name, expected) => {
    const page = pages.find(({ file }) => file === `docs/${name}.md`);
    const [, code = ""] = /^## After\n\n```ts\n([\s\S]*?)^```$/m.exec(page?.text ?? "") ?? [];
    mkdirSync(folder, { recursive: true });
    writeFileSync(new URL(`${name}.ts`, folder), `${code}export {};\n`);
    await import(new URL(`${name}.ts`, folder).href);
    expect(done).toEqual(expected);
  });
});

describe("while both run, a lock of ours and", () => {
  test("one of @upstash/lock with the id lock:{order:42} exclude each other", async () => {
    const theirs = new Lock({
      id: "lock:{order:42}",
      // Its types name the CommonJS twin of this class.
      redis: Redis.fromEnv() as never,
      retry: { attempts: 1, delay: 0 },
    });
    await exclude(createLocker(), "order:42", {
      take: () => theirs.acquire(),
      letGo: () => theirs.release(),
    });
  });

  test.runIf(withPeers)("a redlock of the resource lock:{report} exclude each other", async () => {
    const redis = new IORedis(dev.redisUrl);
    const { default: RedlockClass } = peer("redlock") as { default: Class<Redlock> };
    const redlock = new RedlockClass([redis], { retryCount: 0 });
    redlock.on("error", () => {});
    let lock: Awaited<ReturnType<Redlock["acquire"]>> | undefined;
    await exclude(createLocker(), "report", {
      async take() {
        lock = await redlock.acquire(["lock:{report}"], 10_000).catch(() => undefined);
        return lock !== undefined;
      },
      letGo: () => lock?.release(),
    });
    redis.disconnect();
  });

  test.runIf(withPeers)("a mutex of redis-semaphore exclude each other, as the page says", async () => {
    const redis = new IORedis(dev.redisUrl);
    const { Mutex: MutexClass } = peer("redis-semaphore") as { Mutex: Class<Mutex> };
    const mutex = new MutexClass(redis, "{order:42}", { acquireAttemptsLimit: 1 });
    await exclude(createLocker({ prefix: "mutex:" }), "order:42", {
      take: () => mutex.tryAcquire(),
      letGo: () => mutex.release(),
    });
    redis.disconnect();
  });
});

describe("what the pages say of", () => {
  test.runIf(withPeers)(
    "redlock: busy is an ExecutionError, with a ResourceLockedError in its votes",
    async () => {
      const redis = new IORedis(dev.redisUrl);
      const { default: RedlockClass } = peer("redlock") as { default: Class<Redlock> };
      const redlock = new RedlockClass([redis], { retryCount: 0 });
      const told: string[] = [];
      redlock.on("error", (error) => told.push(error.name));
      const lock = await redlock.acquire(["told"], 10_000);
      const error = await redlock.acquire(["told"], 10_000).catch((error) => error);
      expect(error.name).toBe("ExecutionError");
      const [{ votesAgainst }] = (await Promise.all(error.attempts)) as [
        { votesAgainst: Map<unknown, Error> },
      ];
      expect([...votesAgainst.values()].map(({ name }) => name)).toEqual(["ResourceLockedError"]);
      expect(told).toContain("ResourceLockedError");
      await lock.release();
      redis.disconnect();
    },
  );

  test("@upstash/lock: an outage throws the client's error, and a lost reply may be false", async () => {
    const redis = Redis.fromEnv({ retry: { retries: 1, backoff: () => 1 } });
    const theirs = (id: string) =>
      new Lock({ id, redis: redis as never, retry: { attempts: 1, delay: 0 } }).acquire();
    dev.setFaults({ dropRequest: 1 });
    await expect(theirs("away")).rejects.toThrow("fetch failed");
    // The first reply is lost, the second is not.
    for (let seed = 0, found = false; !found; seed++) {
      dev.setFaults({ dropReply: 0.5, seed });
      found = (await theirs(`lost-${seed}`).catch(() => true)) === false;
      expect(seed).toBeLessThan(50);
    }
    dev.setFaults({});
    const { Lock: _, ...others } = await import("@upstash/lock");
    expect(others).not.toHaveProperty("Debounce");
  });
});

interface Theirs {
  take(): Promise<boolean>;
  letGo(): Promise<unknown> | undefined;
}

async function exclude(locker: ReturnType<typeof createLocker>, key: string, theirs: Theirs): Promise<void> {
  expect(await theirs.take()).toBe(true);
  expect(await locker.tryAcquire(key)).toBe(null);
  await theirs.letGo();
  const ours = await locker.tryAcquire(key);
  expect(ours?.held).toBe(true);
  expect(await theirs.take()).toBe(false);
  expect(await ours?.release()).toBe(true);
}
