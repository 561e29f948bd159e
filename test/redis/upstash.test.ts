import { Lock as UpstashLock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { Cluster, Redis as IoRedis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createLocker, LockOptionError, LockUnavailableError } from "../../src/index.ts";
import { type Backend, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { command, type FaultyProxy, startProxy } from "../helpers/proxy.ts";
import { until } from "../helpers/waiter.ts";

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

const at = () => ({ url: proxy.url, token: backend.server.token });
const value = (key: string) => backend.raw.get(`lock:{${key}}`);

describe("an instance whose own signal has aborted", () => {
  const reasons = ["SIGTERM", "OK", 1, 0, null, ["OK"], { result: "OK" }, undefined];
  for (const enableAutoPipelining of [true, false])
    test.each(reasons.map((reason) => [JSON.stringify(reason) ?? "undefined", reason] as const))(
      `makes no holder and renews nothing, by whatever reason (pipelining ${enableAutoPipelining}): %s`,
      async (_, reason) => {
        const key = freshKey();
        const shutdown = new AbortController();
        const redis = new Redis({ ...at(), signal: shutdown.signal, enableAutoPipelining });
        const locker = createLocker({ redis, ttl: "500ms", requestTimeout: "1s" });
        const lock = await locker.acquire(key, { renew: true });
        shutdown.abort(reason);
        await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
        expect(lock.held).toBe(false);
        await expect(locker.acquire(freshKey())).rejects.toBeInstanceOf(LockUnavailableError);
        await expect(locker.acquire(freshKey(), { fencing: true })).rejects.toBeInstanceOf(
          LockUnavailableError,
        );
      },
    );
});

test("a request that goes on after it was given up is followed to its end, and its lock released", async () => {
  const key = freshKey();
  let arrive = () => {};
  const holdUntil = new Promise<void>((resolve) => (arrive = resolve));
  // Of each try that the limit allows.
  proxy.fail(command("SET"), { holdUntil }, { holdUntil }, { holdUntil }, { holdUntil }, { holdUntil });
  const locker = createLocker({ redis: new Redis(at()), ttl: "1h", requestTimeout: "50ms" });
  await expect(locker.acquire(key)).rejects.toBeInstanceOf(LockUnavailableError);
  // Far later than any limit of ours.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  arrive();
  await proxy.settled();
  await until(async () => (await value(key)) === null);
});

test("an instance that sends again at once does not lose a lock that was held to its end", async () => {
  for (const retry of [{ retries: 5, backoff: () => 0 }, { retries: 5, backoff: () => 1 }, false] as const) {
    const locker = createLocker({ redis: new Redis({ ...at(), retry }) });
    const lock = await locker.acquire(freshKey());
    proxy.fail(command("DELEX"), { lose: "reply" });
    expect(await lock.release()).toBe(true);
    expect(lock.signal.reason).toMatchObject({ name: "AbortError" });
  }
});

test("a client that cannot work is refused by name when the locker is made", async () => {
  const io = new IoRedis({ lazyConnect: true });
  const cluster = new Cluster([{ host: "127.0.0.1", port: 1 }], { lazyConnect: true });
  const redis = new Redis(at());
  const plain = new Redis({ ...at(), enableAutoPipelining: false });
  const wrong = {
    ioredis: io,
    "a cluster of ioredis": cluster,
    "a pipeline of ioredis": io.pipeline(),
    "a pipeline": redis.pipeline(),
    "a transaction": plain.multi(),
    "valkey-glide": { exec: async () => [], customCommand: async () => null },
    "a lock": new UpstashLock({ id: "a", redis: redis as never }),
    nothing: null,
    text: "redis",
  };
  for (const [name, redis] of Object.entries(wrong))
    expect(() => createLocker({ redis: redis as never }), name).toThrow(LockOptionError);
  for (const redis of [new Redis(at()), plain, { exec: (words: never) => plain.exec(words) }]) {
    const lock = await createLocker({ redis }).acquire(freshKey());
    expect(await lock.release()).toBe(true);
  }
});

test("an error of a client that quotes its command shows no token", async () => {
  const key = freshKey();
  const commands: unknown[] = [];
  const redis = {
    async exec(words: unknown[]) {
      commands.push(...words);
      const quoted = { name: "ReplyError", command: { name: words[0], args: words } };
      throw Object.assign(new Error(`ERR unknown: ${words.join(" ")}\n`), quoted, {
        cause: new Error(`${words}`),
      });
    },
  };
  const error = await createLocker({ redis: redis as never, requestTimeout: 50 })
    .acquire(key)
    .catch((error) => error);
  const token = /s2:([^:]+)/.exec(commands.join(" "))?.[1] as string;
  const { inspect } = await import("node:util");
  expect(token).toMatch(/^[0-9a-f]{32}$/);
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(token);
  expect(error.cause.message).toMatch(/^ERR unknown: SET/);
  expect(error.cause.message).not.toContain("\n");
  expect(lockerAt(backend.server)).toBeDefined();
});
