import { createLocker, type Locker } from "serverless-lock";
import { type DevServer, startDevServer } from "serverless-lock/dev";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Addresses, invocationUrl, type Offline, startOffline } from "../../functions/demo/offline.ts";

let dev: DevServer;
let offline: Offline;
let addresses: Addresses;
let locker: Locker;

beforeAll(async () => {
  dev = await startDevServer();
  offline = startOffline({ redis: dev });
  locker = createLocker({ url: dev.url, token: dev.token });
  addresses = await offline.ready;
});

afterAll(async () => {
  await offline?.stop();
  await dev?.close();
});

beforeEach(() => ask("FLUSHALL"));

describe("charge", () => {
  const charge = (order: string) => fetch(`${addresses.http}/orders/${order}/charge`, { method: "POST" });

  test("charges an order and leaves no key behind", async () => {
    const response = await charge("42");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ order: "42", charged: true });
    expect(await ask("DBSIZE")).toBe(0);
  });

  test("answers 423 with Retry-After while the order is locked, and leaves that lock alone", async () => {
    await using lock = await locker.acquire("order:42");
    const response = await charge("42");
    expect(response.status).toBe(423);
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await response.text()).toContain("held by another");
    expect(await lock.extend()).toBeTruthy();
  });

  test("charges another order meanwhile", async () => {
    await using _lock = await locker.acquire("order:42");
    expect((await charge("43")).status).toBe(200);
  });
});

describe("report", () => {
  const time = "2030-01-01T02:00:00Z";
  const report = () => invoke("report", { time });

  test("skips while another run is at it, and runs once that is gone", async () => {
    const lock = await locker.acquire("nightly-report@2030-01-01T02:00:00.000Z");
    expect(await report()).toBe("");
    await lock.release();
    expect(JSON.parse(await report())).toEqual({ report: time });
  });

  test("skips an event delivered again after the report was written", async () => {
    expect(JSON.parse(await report())).toEqual({ report: time });
    expect(await report()).toBe("");
  });

  test("writes the next night's report, too", async () => {
    expect(JSON.parse(await report())).toEqual({ report: time });
    const next = "2030-01-02T02:00:00Z";
    expect(JSON.parse(await invoke("report", { time: next }))).toEqual({ report: next });
  });

  test("writes one report when an event is delivered twice at once", async () => {
    const answers = await Promise.all([report(), report()]);
    expect(answers.filter(Boolean)).toHaveLength(1);
  });
});

describe("orders-queue", () => {
  test("hands back exactly the busy and the failed message", async () => {
    await using _lock = await locker.acquire("order:2");
    const bodies = { one: '{"order":"1"}', busy: '{"order":"2"}', broken: "no JSON", three: '{"order":"3"}' };
    const Records = Object.entries(bodies).map(([messageId, body]) => ({ messageId, body }));
    expect(JSON.parse(await invoke("orders-queue", { Records }))).toEqual({
      batchItemFailures: [{ itemIdentifier: "busy" }, { itemIdentifier: "broken" }],
    });
  });

  test("ships one after the other what a batch has twice of one order", async () => {
    const Records = ["a", "b"].map((messageId) => ({ messageId, body: '{"order":"1"}' }));
    const answer = await invoke("orders-queue", { Records });
    expect(JSON.parse(answer)).toEqual({ batchItemFailures: [] });
    expect(await ask("DBSIZE")).toBe(0);
  });
});

/** What the function returned, as JSON; nothing for null. */
async function invoke(name: string, event: unknown): Promise<string> {
  const response = await fetch(invocationUrl(addresses, name), {
    method: "POST",
    body: JSON.stringify(event),
  });
  const answer = await response.text();
  expect(response.headers.get("x-amz-function-error"), answer).toBeNull();
  expect(response.status, answer).toBe(200);
  return answer;
}

async function ask(...command: string[]): Promise<unknown> {
  const response = await fetch(dev.url, {
    method: "POST",
    headers: { authorization: `Bearer ${dev.token}` },
    body: JSON.stringify(command),
  });
  return ((await response.json()) as { result: unknown }).result;
}
