import { createLocker } from "serverless-lock";
import { type DevServer, startDevServer } from "serverless-lock/dev";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Example,
  type ExampleName,
  examples,
  MissingRuntimeError,
  startExample,
} from "../../functions/demo/example.ts";

describe.each(Object.keys(examples) as ExampleName[])("the example %s", (name) => {
  let dev: DevServer;
  let example: Example | undefined;
  let missing: MissingRuntimeError | undefined;

  beforeAll(async () => {
    dev = await startDevServer();
    example = await startExample(name, dev).catch((error) => {
      if (!(error instanceof MissingRuntimeError)) throw error;
      missing = error;
      return undefined;
    });
  });

  afterAll(async () => {
    await example?.close();
    await dev.close();
  });

  test("charges an order for one request at a time, and leaves no key behind", async (context) => {
    if (missing) context.skip(missing.message);
    const charge = () => fetch(`${example?.url}/orders/42/charge`, { method: "POST" });
    const responses = await Promise.all([charge(), charge()]);
    expect(responses.map(({ status }) => status).sort()).toEqual([200, 423]);
    const busy = responses.find(({ status }) => status === 423);
    expect(Number(busy?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await busy?.json()).toMatchObject({ code: "LOCK_BUSY" });
    await Promise.all(responses.map((response) => response.bodyUsed || response.text()));
    // With a waitUntil, the release comes after the response.
    const key = name === "hono" ? "order:42" : "/orders/42/charge";
    await using _lock = await createLocker({ url: dev.url, token: dev.token }).acquire(key, { wait: "20s" });
  });
});
