import { createLocker } from "serverless-lock";
import { type DevServer, startDevServer } from "serverless-lock/dev";
import { afterAll, beforeAll, describe, expect, type TestContext, test, vi } from "vitest";
import {
  type Example,
  type ExampleName,
  examples,
  MissingRuntimeError,
  startExample,
} from "../../functions/demo/example.ts";

/** Starts an example for the tests of a suite, with a Redis of its own. */
function running(name: ExampleName) {
  let dev: DevServer;
  let example: Example | undefined;
  let missing: MissingRuntimeError | undefined;
  let output = "";

  beforeAll(async () => {
    dev = await startDevServer();
    const listen = (text: string) => {
      output += text;
    };
    example = await startExample(name, dev, 0, listen).catch((error) => {
      if (!(error instanceof MissingRuntimeError)) throw error;
      missing = error;
      return undefined;
    });
  });

  afterAll(async () => {
    await example?.close();
    await dev.close();
  });

  return {
    output: () => output,
    locker: () => createLocker({ url: dev.url, token: dev.token }),
    /** Asks the example, or leaves the test out where its runtime is missing. */
    ask(context: TestContext, path: string, init?: RequestInit): Promise<Response> {
      if (!example) context.skip(missing?.message);
      return fetch(`${example?.url}${path}`, init);
    },
  };
}

describe.each(Object.keys(examples) as ExampleName[])("the example %s", (name) => {
  const { ask, locker } = running(name);

  test("charges an order for one request at a time, and leaves the lock free", async (context) => {
    const charge = () => ask(context, "/orders/42/charge", { method: "POST" });
    const responses = await Promise.all([charge(), charge()]);
    expect(responses.map(({ status }) => status).sort()).toEqual([200, 423]);
    const busy = responses.find(({ status }) => status === 423);
    expect(Number(busy?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await busy?.json()).toMatchObject({ code: "LOCK_BUSY" });
    await responses.find(({ status }) => status === 200)?.text();
    // With a waitUntil, the release comes after the response.
    const key = name === "hono" ? "order:42" : "/orders/42/charge";
    await using _lock = await locker().acquire(key, { wait: "20s" });
  });
});

describe("the example worker, besides,", () => {
  const { ask, output } = running("worker");

  test("ships what was charged, from its queue", async (context) => {
    expect((await ask(context, "/orders/43/charge", { method: "POST" })).status).toBe(200);
    await vi.waitFor(() => expect(output()).toContain("shipped order /orders/43/charge"), 50_000);
  });

  test("writes the report of a tick once, however often it is triggered", async (context) => {
    const time = Date.parse("2030-01-01T02:00:00Z");
    const trigger = (at: number) => ask(context, `/cdn-cgi/handler/scheduled?cron=0+2+*+*+*&time=${at}`);
    const answers = await Promise.all([trigger(time), trigger(time)]);
    answers.push(await trigger(time), await trigger(time + 86_400_000));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    await vi.waitFor(() => expect(output()).toContain("report of 2030-01-02"), 50_000);
    expect(output().match(/wrote the report of 2030-01-01/g)).toHaveLength(1);
  });
});
