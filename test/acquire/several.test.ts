import { expect, test } from "vitest";
import { newLocker } from "../../src/locker.ts";
import { defaults } from "../../src/options/lock-options.ts";
import type { Command } from "../../src/redis/client.ts";
import { connect } from "../../src/redis/connection.ts";
import { forever, realRuntime } from "../../src/runtime.ts";
import { createMemoryRedis } from "../../src/testing/memory-redis.ts";

/** A locker on a Redis in memory. `before` is called with each command, which is executed once that has resolved. */
function lockerOn(
  redis: ReturnType<typeof createMemoryRedis>,
  before: (command: Command) => void | Promise<void>,
) {
  const client = {
    exact: true,
    resendsAfter: forever,
    async send(commands: readonly Command[]) {
      const replies: unknown[] = [];
      for (const command of commands) {
        await before(command);
        const [name, ...args] = command.map(String) as [string, ...string[]];
        replies.push(redis.command(name, ...args));
      }
      return replies;
    },
    listen: (_channel: string, _hear: unknown, signal: AbortSignal) =>
      new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
  };
  const connection = connect(client, realRuntime);
  return newLocker(() => connection, defaults);
}

test("a lock that is lost while the others are waited for is waited for anew, also when tokens are drawn in the end", async () => {
  const redis = createMemoryRedis({ now: Date.now, publish: () => 0 });
  let drawn = 0;
  const locker = lockerOn(redis, (command) => {
    // The first time all are asked for at once. The second time both are held.
    if (!command.includes("lock:{a}:fence") || ++drawn !== 2) return;
    redis.command("SET", "lock:{a}", "another's", "PX", "100");
  });
  redis.command("SET", "lock:{b}", "another's", "PX", "1000");
  const lock = await locker.acquire(["a", "b"], { fencing: true, wait: "1m" });
  expect(drawn).toBeGreaterThan(2);
  expect(lock.held).toBe(true);
  expect(lock.fence).toBeGreaterThan(0);
  expect(await lock.release()).toBe(true);
  expect(redis.command("GET", "lock:{a}")).toBe(null);
  expect(redis.command("GET", "lock:{b}")).toBe(null);
});

test("a renewal that is still on its way when tokens are drawn is reckoned with: it may shorten a longer lease later", async () => {
  const redis = createMemoryRedis({ now: Date.now, publish: () => 0 });
  const late = Promise.withResolvers<void>();
  let renewals = 0;
  const locker = lockerOn(redis, (command) => {
    if (command.includes("IFEQ") && ++renewals === 1) return late.promise;
  });
  redis.command("SET", "lock:{b}", "another's", "PX", "1200");
  const lock = await locker.acquire(["a", "b"], { fencing: true, wait: "1m", ttl: 3000 });
  expect(renewals).toBe(1);
  expect(await lock.extend("1m")).toBe(true);
  const { remaining } = lock;
  late.resolve();
  expect(remaining).toBeLessThanOrEqual(3000);
  await lock.release();
});

test("a process that was frozen while it waited for the rest goes on waiting, and relies on no more than a late renewal may set", async () => {
  const redis = createMemoryRedis({ now: Date.now, publish: () => 0 });
  const late = Promise.withResolvers<void>();
  let renewals = 0;
  const locker = lockerOn(redis, (command) => {
    if (command.includes("IFEQ") && ++renewals === 1) return late.promise;
  });
  redis.command("SET", "lock:{b}", "another's", "PX", "60000");
  const waiting = locker.acquire(["a", "b"], { wait: "1m", ttl: 200 });
  while (renewals === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  // Nothing of this process runs, until its lease is over.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  await new Promise((resolve) => setTimeout(resolve, 300));
  redis.command("DEL", "lock:{b}");
  const lock = await waiting;
  expect(lock.held).toBe(true);
  await lock.extend("1h");
  expect(lock.remaining).toBeLessThanOrEqual(200);
  late.resolve();
  await lock.release();
  expect(redis.command("GET", "lock:{a}")).toBe(null);
  expect(redis.command("GET", "lock:{b}")).toBe(null);
});
