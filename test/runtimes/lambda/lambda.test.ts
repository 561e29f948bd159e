import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { engines, freshKey, lockerAt } from "../../helpers/backends.ts";
import { type Child, runChild } from "../../helpers/child.ts";
import { type FaultyProxy, startProxy } from "../../helpers/proxy.ts";
import { until } from "../../helpers/waiter.ts";
import { type Relay, startRelay } from "./relay.ts";
import { type RuntimeApi, startRuntimeApi } from "./runtime-api.ts";

const backend = await (engines[0] as (typeof engines)[0]).start();
afterAll(() => backend.close());
const locker = lockerAt(backend.server);
const held = (key: string) => backend.raw.exists(`lock:{${key}}`).then(Boolean);

let api: RuntimeApi;
/** Between the function and Redis: sees what it sends. */
let proxy: FaultyProxy;
/** In front of that: its connections can be cut. */
let relay: Relay;
let sandbox: Child;
beforeEach(async () => {
  [api, proxy] = await Promise.all([startRuntimeApi(), startProxy(backend.server.url)]);
  relay = await startRelay(proxy.url);
});
afterEach(async () => {
  sandbox.process.kill("SIGKILL");
  await sandbox.ended;
  await Promise.all([api.close(), relay.close(), proxy.close()]);
});

/** Starts the function's process. @param ttl its lease, in ms */
function start(ttl: number, concurrency = 1): void {
  sandbox = runChild("../runtimes/lambda/bootstrap.ts", [], {
    AWS_LAMBDA_RUNTIME_API: api.host,
    UPSTASH_REDIS_REST_URL: relay.url,
    UPSTASH_REDIS_REST_TOKEN: backend.server.token,
    TTL: `${ttl}`,
    CONCURRENCY: `${concurrency}`,
  });
}

const freeze = () => sandbox.process.kill("SIGSTOP");
const thaw = () => sandbox.process.kill("SIGCONT");

/** The renewals that came through, of one key or of all: a command, or that operation of the script. */
const renewals = (key?: string) =>
  proxy.count((words) => {
    const plain = words[0] === "SET" && words.includes("IFEQ") && words[1];
    const script = words[0] === "EVAL" && words.at(-1) === "extend" && words[3];
    return key ? [plain, script].includes(`lock:{${key}}`) : Boolean(plain || script);
  });

/** Resolves when so many ms have passed in Redis. */
async function passInRedis(ms: number): Promise<void> {
  const key = freshKey();
  await backend.raw.set(key, "", "PX", ms);
  await until(async () => !(await backend.raw.exists(key)));
}

describe("a process that is frozen", () => {
  test("between two invocations sends nothing when it is thawed, and goes on, though its connections were cut", async () => {
    start(1500);
    const first = api.invoke({ key: freshKey(), steps: 1 });
    await Promise.all([first.asks(), until(() => renewals() >= 2)]);
    first.go();
    expect(await first.outcome).toEqual({ result: "done" });
    await api.idle();
    const sent = proxy.seen.length;

    freeze();
    relay.cut();
    await passInRedis(2000);
    thaw();
    const key = freshKey();
    expect(await api.invoke({ key, steps: 0 }).outcome).toEqual({ result: "done" });
    expect(proxy.seen.slice(sent)).toEqual(["SET", "DELEX"]);
    expect(await held(key)).toBe(false);
  });

  test("within an invocation does no step more once its lease is over, and renews nothing", async () => {
    start(800);
    const key = freshKey();
    const invocation = api.invoke({ key, steps: 2 });
    await invocation.asks();
    freeze();
    // Leave for its next step waits in its socket: it wakes up to that and to its overdue timers at once.
    invocation.go();
    const next = await locker.acquire(key, { wait: "1m" });
    await proxy.settled();
    const before = renewals();
    thaw();
    expect(await invocation.outcome).toMatchObject({ error: { errorType: "LockLostError" } });
    await api.idle();
    await proxy.settled();
    expect(invocation.steps).toBe(1);
    expect(renewals()).toBe(before);
    expect(next.held).toBe(true);
    expect(await next.release()).toBe(true);
    expect(api.timers.at(-1)).toBe(0);
  });

  test("for less than its lease goes on, and renews it, though its connections were cut", async () => {
    start(5000);
    const invocation = api.invoke({ key: freshKey(), steps: 1 });
    await invocation.asks();
    freeze();
    relay.cut();
    // Past the time of a renewal.
    await passInRedis(2000);
    const before = renewals();
    thaw();
    await until(() => renewals() > before);
    invocation.go();
    expect(await invocation.outcome).toEqual({ result: "done" });
  });

  test("with many invocations at work ends every one of them, and lets none of the next ones be disturbed", async () => {
    start(800, 5);
    const keys = Array.from({ length: 5 }, freshKey);
    const invocations = keys.map((key) => api.invoke({ key, steps: 2 }));
    await Promise.all(invocations.map((invocation) => invocation.asks()));
    freeze();
    for (const invocation of invocations) invocation.go();
    const next = await Promise.all(keys.map((key) => locker.acquire(key, { wait: "1m" })));
    await proxy.settled();
    const before = renewals();
    thaw();
    for (const { outcome } of invocations)
      expect(await outcome).toMatchObject({ error: { errorType: "LockLostError" } });
    await proxy.settled();
    expect(invocations.map(({ steps }) => steps)).toEqual([1, 1, 1, 1, 1]);
    expect(renewals()).toBe(before);
    expect(await Promise.all(next.map((lock) => lock.release()))).toEqual(Array(5).fill(true));
  });
});

describe("a process with many invocations at once", () => {
  test("keeps each one's lock apart, and lets one in of those that want the same", async () => {
    start(10_000, 10);
    const keys = Array.from({ length: 5 }, freshKey);
    const first = keys.map((key) => api.invoke({ key, steps: 1 }));
    await Promise.all(first.map((invocation) => invocation.asks()));
    const second = keys.map((key) => api.invoke({ key, steps: 1 }));
    for (const { outcome } of second)
      expect(await outcome).toMatchObject({ error: { errorType: "LockBusyError" } });
    expect(await Promise.all(keys.map(held))).toEqual(Array(5).fill(true));

    // One ends, and no other is touched.
    first[0]?.go();
    expect(await first[0]?.outcome).toEqual({ result: "done" });
    expect(await Promise.all(keys.map(held))).toEqual([false, true, true, true, true]);
    for (const invocation of first) invocation.go();
    for (const { outcome } of first) expect(await outcome).toEqual({ result: "done" });
    expect(await Promise.all(keys.map(held))).toEqual(Array(5).fill(false));
  });

  test("renews the locks of all that are at work", async () => {
    start(1500, 3);
    const keys = Array.from({ length: 3 }, freshKey);
    const invocations = keys.map((key) => api.invoke({ key, steps: 1 }));
    await until(() => keys.every((key) => renewals(key) >= 4));
    for (const invocation of invocations) invocation.go();
    for (const { outcome } of invocations) expect(await outcome).toEqual({ result: "done" });
  });
});

describe("when an invocation has ended", () => {
  test("no timer of it is left, be it a success, an error, or busy", async () => {
    start(10_000, 2);
    const [key, other] = [freshKey(), freshKey()];
    const atWork = api.invoke({ key, steps: 1 });
    await atWork.asks();
    expect(await api.invoke({ key, steps: 0 }).outcome).toMatchObject({
      error: { errorType: "LockBusyError" },
    });
    await api.idle();
    // That of the one at work, which renews its lease or ends it.
    expect(api.timers.at(-1)).toBe(1);
    expect(await api.invoke({ key: other, steps: 0 }).outcome).toEqual({ result: "done" });
    await api.idle();
    expect(api.timers.at(-1)).toBe(1);
    await backend.raw.del(`lock:{${key}}`);
    atWork.go();
    expect(await atWork.outcome).toMatchObject({ error: { errorType: "LockLostError" } });
    await api.idle(2);
    expect(api.timers.at(-1)).toBe(0);
  });

  test("its process ends by itself, as soon as there is no other", async () => {
    start(3_600_000);
    const invocation = api.invoke({ key: freshKey(), steps: 1 }, 86_400_000);
    await invocation.asks();
    invocation.go();
    expect(await invocation.outcome).toEqual({ result: "done" });
    api.shutDown();
    await sandbox.line("ended");
    // Were a timer or a socket of ours left, it would live on until the test's own limit.
    expect(await sandbox.ended).toBe(0);
  });

  test("by a kill, its lock ends with its deadline, however long its lease was to be", async () => {
    start(3_600_000);
    const key = freshKey();
    const invocation = api.invoke({ key, steps: 1 }, 1500);
    await invocation.asks();
    expect(await backend.raw.pttl(`lock:{${key}}`)).toBeLessThan(1600);
    sandbox.process.kill("SIGKILL");
    const next = await locker.acquire(key, { wait: "1m" });
    expect(await next.release()).toBe(true);
  });
});
