import { Redis } from "@upstash/redis";
import { createLocker, type Locker, type Targets } from "serverless-lock";
import { inspect, pause, release, setLimit, unpause } from "serverless-lock/admin";
import { type DevServer, startDevServer } from "serverless-lock/dev";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pages } from "./pages.ts";

// What the tables of costs say, by the dev server's meter. Crowds and replicas are measured in bench/ and test/replicas.
// A lock that is waited for is a state, as a shared one is.

let dev: DevServer;
let builtIn: Locker;
let instance: Locker;

beforeAll(async () => {
  dev = await startDevServer();
  const { url, token } = dev;
  builtIn = createLocker({ url, token });
  instance = createLocker({ redis: new Redis({ url, token }) });
  // What the server lacks is learnt by now.
  for (const locker of [builtIn, instance])
    for (const target of ["learnt", { key: "learnt", limit: 1 }]) {
      const lock = await locker.acquire(target);
      await locker.tryAcquire(target);
      await lock.extend();
      await lock.release();
    }
});
afterAll(() => dev.close());

let keys = 0;
const freshKey = () => `costs-${++keys}`;

/** What comes first, and what of it is counted. */
type Scenario = (locker: Locker, key: string) => Promise<() => Promise<unknown>>;

const takeAndRelease =
  (targets: (key: string) => Targets, options = {}): Scenario =>
  async (locker, key) =>
  async () =>
    (await locker.acquire(targets(key), options)).release();

const renew =
  (targets: (key: string) => Targets): Scenario =>
  async (locker, key) => {
    const lock = await locker.acquire(targets(key));
    return () => lock.extend();
  };

const permit = (key: string) => ({ key, limit: 1000 });
const reader = (key: string) => ({ key, mode: "shared" as const });
const three = (key: string) => [key, `${key}b`, `${key}c`];
const one = (key: string) => key;

const steering: Scenario[] = [
  async (locker, key) => () => setLimit(locker, key, 3),
  async (locker, key) => () => pause(locker, key),
  async (locker, key) => {
    await pause(locker, key);
    return () => unpause(locker, key);
  },
  async (locker, key) => {
    await locker.acquire(key);
    return () => pause(locker, key);
  },
];

const ending: Scenario[] = [one, permit, reader].flatMap((targets) =>
  [true, false].map(
    (now): Scenario =>
      async (locker, key) => {
        await locker.acquire(targets(key));
        return () => release(locker, key, { now });
      },
  ),
);

const busy: Scenario = async (locker, key) => {
  await locker.acquire(key);
  return () => locker.tryAcquire(key);
};

/** The rows of docs/costs.md and docs/admin.md, by how they begin. */
const rows: [page: string, row: string, by: () => Locker[], scenarios: Scenario[]][] = [
  ["costs", "taken and released", () => [builtIn, instance], [takeAndRelease(one)]],
  ["costs", "refused (busy), built-in client", () => [builtIn], [busy]],
  ["costs", "refused (busy), an `@upstash/redis` instance", () => [instance], [busy]],
  [
    "costs",
    "refused (busy), while others wait or share it",
    () => [builtIn, instance],
    [
      async (locker, key) => {
        await locker.acquire(reader(key));
        return () => locker.tryAcquire(key);
      },
    ],
  ],
  ["costs", "each renewal", () => [builtIn, instance], [renew(one)]],
  [
    "costs",
    "each renewal of a permit or a reader, or while others wait",
    () => [builtIn, instance],
    [renew(permit), renew(reader)],
  ],
  [
    "costs",
    "taken with `fencing` and released",
    () => [builtIn, instance],
    [takeAndRelease(one, { fencing: true })],
  ],
  [
    "costs",
    "a permit or a reader, taken and released",
    () => [builtIn, instance],
    [takeAndRelease(permit), takeAndRelease(reader)],
  ],
  ["costs", "three keys, taken and released", () => [builtIn, instance], [takeAndRelease(three)]],
  [
    "admin",
    "`inspect`",
    () => [builtIn, instance],
    [
      async (locker, key) => () => inspect(locker, key),
      async (locker, key) => {
        await locker.acquire(key);
        return () => inspect(locker, key);
      },
    ],
  ],
  ["admin", "`release`", () => [builtIn, instance], ending],
  ["admin", "`setLimit`, `pause`, `unpause`", () => [builtIn, instance], steering],
];

test.each(rows)("docs/%s.md says what is billed for: %s", async (page, row, by, scenarios) => {
  const text = pages.find(({ file }) => file === `docs/${page}.md`)?.text ?? "";
  const [, requests = "", commands = ""] =
    text
      .split("\n")
      .find((line) => line.startsWith(`| ${row} |`))
      ?.slice(`| ${row}`.length)
      .split("|") ?? [];
  const [most, ...others] = [...(commands.split(";")[0]?.matchAll(/\d+/g) ?? [])].map(Number).reverse();
  const least = others.at(-1) ?? (commands.includes("at most") ? 1 : most);
  for (const locker of by())
    for (const scenario of scenarios) {
      const counted = await scenario(locker, freshKey());
      const before = dev.meter();
      await counted();
      const after = dev.meter();
      expect(after.requests - before.requests).toBe(Number.parseInt(requests, 10));
      expect(after.commands - before.commands).toBeGreaterThanOrEqual(least as number);
      expect(after.commands - before.commands).toBeLessThanOrEqual(most as number);
    }
});
