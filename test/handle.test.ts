import { format, inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLocker, type LockHandle, LockOptionError } from "../src/index.ts";
import { redisKey } from "../src/options/targets.ts";
import { type Backend, clients, engines, freshKey, lockerAt } from "./helpers/backends.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await (engines[0] as (typeof engines)[0]).start();
});
afterAll(() => backend?.close());

const left = (key: string) => backend.raw.pttl(`lock:{${key}}`);

describe.each(clients)("a handle, with $client", ({ connect }) => {
  const locker = (options = {}) => createLocker({ ...connect(backend.server), ...options });

  test.each([
    ["JSON", (handle: LockHandle) => JSON.stringify(handle)],
    [
      "a store without undefined",
      (handle: LockHandle) =>
        Object.fromEntries(Object.entries(handle).map(([name, value]) => [name, value ?? null])),
    ],
    ["a copy", (handle: LockHandle) => structuredClone({ ...handle })],
  ])("that went through %s is the same lock", async (_, store) => {
    for (const options of [{}, { owner: "checkout of Zoë 🛒" }, { fencing: true }, { prefix: "app:" }]) {
      const lock = await locker().acquire(freshKey(), options);
      const resumed = locker().resume(store(lock.toJSON()) as unknown as LockHandle);
      expect(resumed).toMatchObject({ key: lock.key, owner: lock.owner, fence: lock.fence, held: false });
      expect(await resumed.extend()).toBe(true);
      expect(await resumed.release()).toBe(true);
    }
  });

  test("that is not what a lock gave is refused", async () => {
    const good = (await locker().acquire(freshKey())).toJSON();
    const odd: Record<string, unknown>[] = [
      { key: "" },
      { key: "k".repeat(5000) },
      { key: "order:undefined" },
      { key: "cut \ud83d" },
      { prefix: "a\r\nb" },
      { prefix: 5 },
      { prefix: undefined },
      { ttl: 0 },
      { ttl: -5 },
      { ttl: 1.5 },
      { ttl: 1e21 },
      { ttl: "10s" },
      { ttl: undefined },
      { token: "" },
      { token: "a:b\u0000" },
      { token: undefined },
      { token: [good.token] },
      { owner: { a: 1 } },
      { owner: "o".repeat(201) },
      { owner: "cut \ud83d" },
      { fence: "9" },
      { fence: 1.5 },
      { fence: 0 },
      { fence: -4 },
      { fence: 1e300 },
      { holdFor: -1 },
      { holdFor: "1h" },
      { unsettled: 0 },
      { unsettled: "soon" },
      { unsettled: Number.NaN },
    ];
    for (const change of odd) {
      const handle = { ...good, ...change } as LockHandle;
      expect(() => locker().resume(handle), inspect(change)).toThrow(LockOptionError);
      if (!("token" in change)) expect(() => locker().resume(handle)).not.toThrow(good.token);
    }
  });

  test("takes a lease and a window of its own, and no other owner or prefix", async () => {
    const key = freshKey();
    const lock = await locker({ ttl: "5s" }).acquire(key, { owner: "the first" });
    const resumed = locker().resume(JSON.stringify(lock), { ttl: "60s" });
    expect(await resumed.extend()).toBe(true);
    expect(resumed.remaining).toBeGreaterThan(50_000);
    for (const options of [{ owner: "another" }, { prefix: "other:" }])
      expect(() => locker().resume(JSON.stringify(lock), options)).toThrow(LockOptionError);
    await resumed.release();
  });

  test("carries what is left of holdFor, which counts from acquire", async () => {
    const [a, b] = [freshKey(), freshKey()];
    const first = await locker().acquire(a, { holdFor: "1h" });
    expect(await locker().resume(JSON.stringify(first)).release()).toBe(true);
    expect(await left(a)).toBeGreaterThan(3_500_000);
    const second = await locker().acquire(b, { holdFor: "1h" });
    const handle = { ...second.toJSON(), holdFor: 5000 };
    await locker().resume(handle, { holdFor: "2h" }).release();
    expect(await left(b)).toBeLessThanOrEqual(5000);
  });

  test("of a lock without a window, or whose window is over, gets none from the locker's own default", async () => {
    const [a, b, c] = [freshKey(), freshKey(), freshKey()];
    const keeping = locker({ holdFor: "1h" });
    const several = await keeping.acquire([{ key: a, holdFor: 0 }, b]);
    const over = await keeping.acquire(c, { holdFor: 1 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    for (const lock of [several, over])
      expect(await keeping.resume(JSON.stringify(lock)).release()).toBe(true);
    expect(await left(a)).toBe(-2);
    expect(await left(b)).toBeGreaterThan(3_500_000);
    expect(await left(c)).toBe(-2);
  });

  test("has the lease that the lock was last extended to", async () => {
    const key = freshKey();
    const lock = await locker().acquire(key, { ttl: "5s" });
    await lock.extend("10m");
    const resumed = locker().resume(JSON.stringify(lock));
    expect(await resumed.extend()).toBe(true);
    expect(resumed.remaining).toBeGreaterThan(500_000);
    await resumed.release();
  });

  test("whose lock is extended by less leaves the longer lease, which the first may rely on", async () => {
    const key = freshKey();
    const first = await locker().acquire(key, { ttl: "20s" });
    const resumed = locker().resume(JSON.stringify(first));
    expect(await resumed.extend("50ms")).toBe(true);
    expect(await left(key)).toBeGreaterThan(10_000);
    expect(first.held).toBe(true);
    expect(await resumed.release()).toBe(true);
  });

  test("of a lock that a lost request may yet give a shorter lease is relied on for no longer", async () => {
    const key = freshKey();
    const first = await locker().acquire(key, { ttl: "20s", requestTimeout: 50 });
    backend.server.setFaults({ dropRequest: 1 });
    await expect(first.extend("2s")).rejects.toMatchObject({ code: "LOCK_UNAVAILABLE" });
    backend.server.setFaults({});
    const handle = first.toJSON();
    expect(handle.unsettled).toBe(2000);
    for (const ttl of [undefined, "60s"] as const) {
      const resumed = locker().resume(JSON.stringify(handle), { ttl });
      expect(await resumed.extend()).toBe(true);
      expect(resumed.remaining).toBeLessThanOrEqual(2000);
      expect(resumed.toJSON().unsettled).toBe(2000);
    }
    expect(await locker().resume(handle).release()).toBe(true);
  });
});

test("a log shows no token of a lock or of a handle", async () => {
  const lock = await lockerAt(backend.server).acquire(freshKey(), { owner: "somebody" });
  for (const shown of [lock, lock.toJSON(), { lock }, [lock.toJSON()]]) {
    for (const options of [{}, { depth: 9, getters: true }, { showHidden: true, showProxy: true }])
      expect(inspect(shown, options)).not.toContain(lock.token);
    expect(format("%o %O %s", shown, shown, shown)).not.toContain(lock.token);
  }
  expect(inspect(lock)).toContain("somebody");
  expect(JSON.parse(JSON.stringify(lock)).token).toBe(lock.token);
  expect(Object.keys(lock.toJSON())).toContain("token");
  await lock.release();
});

describe("a key", () => {
  const locker = () => lockerAt(backend.server);

  test.each([
    "order:undefined",
    "undefined",
    "a/NaN",
    "tenant|undefined|order",
    "x @undefined",
    "#NaN",
    "user [object Object]",
    "[object Object]",
    "cut \ud83d",
  ])("made of a value that was not there, or that cannot go to Redis, is refused: %j", async (key) => {
    await expect(locker().acquire(key)).rejects.toMatchObject({ code: "LOCK_OPTION", option: "key" });
  });

  test.each([
    "undefinedness",
    "order-undefined-behaviour",
    "NaNa",
    "banaNaN",
    "null",
    "Zoë 🛒",
    "}order",
    "{}",
  ])("is taken as it is: %j", async (key) => {
    const lock = await locker().acquire(key);
    expect(lock.key).toBe(key);
    expect(await lock.release()).toBe(true);
  });

  test("has all that belongs to it on one slot of a cluster, and no other key's place", () => {
    const keys = ["a", "{a}", "}a", "}", "{}", "}}", ":", ":}", ":}}a", ":}}a:", "}a:", "a}b"];
    const prefixes = ["lock:", "", "{app}:", "a{", "x}"];
    const places = prefixes.flatMap((prefix) => keys.map((key) => redisKey(prefix, key)));
    for (const place of places) {
      // What Redis hashes: between the first "{" and the next "}", unless nothing is there.
      const tag = /^[^{]*\{([^}]+)\}/.exec(place)?.[1];
      expect(tag, place).toBeTruthy();
      expect(/^[^{]*\{([^}]+)\}/.exec(`${place}:queue`)?.[1]).toBe(tag);
    }
    for (const prefix of prefixes)
      expect(new Set(keys.map((key) => redisKey(prefix, key))).size).toBe(keys.length);
  });

  test("has no prefix that would take it off its slot", async () => {
    await expect(locker().acquire("a", { prefix: "app{}:" })).rejects.toMatchObject({ option: "prefix" });
  });
});

test("an owner cut through an emoji is shown as others see it, and its lock is known again", async () => {
  const owner = "checkout of Zoë 🛒".slice(0, 17);
  const lock = await lockerAt(backend.server).acquire(freshKey(), { owner, fencing: true });
  expect(lock.owner).toBe("checkout of Zoë \ufffd");
  expect(lock.held).toBe(true);
  expect(await lock.release()).toBe(true);
});
