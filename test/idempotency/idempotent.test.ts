import middy from "@middy/core";
import { Hono } from "hono";
import { describe, expect, test } from "vitest";
import { lockQueue, lockFetch as workerFetch } from "../../src/adapters/cloudflare.ts";
import { lockFetch } from "../../src/adapters/fetch.ts";
import { lock } from "../../src/adapters/hono.ts";
import { lockHandler, lockRecords, type SqsRecord } from "../../src/adapters/lambda.ts";
import lockMiddleware from "../../src/adapters/middy.ts";
import { idempotent } from "../../src/idempotency/index.ts";
import type { Lock } from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";

const post = (key: string | undefined, body: BodyInit = "{}", path = "/pay") =>
  new Request(`http://shop.test${path}`, {
    method: "POST",
    body,
    ...(key ? { headers: { "idempotency-key": key } } : {}),
  });

type Handle = (request: Request) => Promise<Response>;

/** One handler behind each adapter whose handler answers a `Response`. */
const adapters: [
  string,
  (options: object, answer: (body: string) => Response | Promise<Response>) => Handle,
][] = [
  [
    "fetch",
    (options, answer) => lockFetch({ key: "", ...options }, async (request) => answer(await request.text())),
  ],
  [
    "Cloudflare",
    (options, answer) => {
      const handle = workerFetch({ key: "", ...options }, async (request: Request) =>
        answer(await request.text()),
      );
      return (request) => handle(request, {}, { waitUntil() {} });
    },
  ],
  [
    "Hono",
    (options, answer) => {
      const app = new Hono();
      app.post("*", lock({ key: "", ...options }), async (c) => answer(await c.req.text()));
      return async (request) => app.fetch(request);
    },
  ],
];

describe.each(adapters)("idempotent with %s", (_, handlerOf) => {
  /** A handler that counts its runs. */
  function counted(options: object = {}, answer?: (body: string) => Response | Promise<Response>) {
    let runs = 0;
    const locker = memoryLocker();
    const handle = handlerOf({ ...idempotent({ ...options }), locker }, (body) => {
      runs++;
      return answer
        ? answer(body)
        : Response.json({ runs, body }, { status: 201, headers: { "x-own": "1" } });
    });
    return { handle, runs: () => runs, locker };
  }

  test("answers once, and the same again to whoever comes with the key", async () => {
    const { handle, runs } = counted();
    const first = await handle(post("a"));
    expect([first.status, first.headers.get("x-own"), await first.json()]).toEqual([
      201,
      "1",
      { runs: 1, body: "{}" },
    ]);
    const second = await handle(post("a"));
    expect([second.status, await second.json(), runs()]).toEqual([201, { runs: 1, body: "{}" }, 1]);
    expect(Object.fromEntries(second.headers)).toEqual({
      "content-type": "application/json",
      "idempotency-replayed": "true",
    });
    expect(await (await handle(post("b"))).json()).toEqual({ runs: 2, body: "{}" });
    expect(await (await handle(post("a", "{}", "/refund"))).json()).toEqual({ runs: 3, body: "{}" });
  });

  test("keeps bytes as they are, no body, and never a cookie", async () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 256);
    const headers = { "content-type": "image/png", "set-cookie": "session=1" };
    const picture = counted(
      { headers: ["Content-Type", "Set-Cookie"] },
      () => new Response(bytes, { headers }),
    );
    expect(new Uint8Array(await (await picture.handle(post("a"))).arrayBuffer())).toEqual(bytes);
    const again = await picture.handle(post("a"));
    expect(new Uint8Array(await again.arrayBuffer())).toEqual(bytes);
    expect(again.headers.get("set-cookie")).toBe(null);
    expect(again.headers.get("content-type")).toBe("image/png");
    const nothing = counted({}, () => new Response(null, { status: 204 }));
    await nothing.handle(post("a"));
    expect([(await nothing.handle(post("a"))).status, nothing.runs()]).toEqual([204, 1]);
  });

  test("is kept also for a client that left without reading", async () => {
    const { handle, runs } = counted();
    await (await handle(post("a"))).body?.cancel();
    expect((await handle(post("a"))).headers.get("idempotency-replayed")).toBe("true");
    expect(runs()).toBe(1);
  });

  test("409 with Retry-After while another is at work; with `wait` its answer", async () => {
    const { promise, resolve } = Promise.withResolvers<Response>();
    const started = Promise.withResolvers<void>();
    const { handle, runs, locker } = counted({}, () => {
      started.resolve();
      return promise;
    });
    const first = handle(post("a"));
    await started.promise;
    const busy = await handle(post("a"));
    expect([busy.status, Number(busy.headers.get("retry-after")) > 0]).toEqual([409, true]);
    expect(await busy.json()).toMatchObject({ code: "LOCK_BUSY" });
    const waiting = handlerOf(
      { ...idempotent({ wait: "1m" }), locker },
      () => new Response("another"),
    )(post("a"));
    resolve(new Response("done"));
    expect([await (await first).text(), await (await waiting).text(), runs()]).toEqual(["done", "done", 1]);
  });

  test("422 for another body", async () => {
    const { handle, runs } = counted();
    await handle(post("a", "one"));
    const other = await handle(post("a", "two"));
    expect([other.status, runs()]).toEqual([422, 1]);
    expect(await other.json()).toMatchObject({ code: "LOCK_RESULT_MISMATCH" });
  });

  test("without a key runs without a lock, or answers 400", async () => {
    const { handle, runs } = counted();
    await handle(post(undefined));
    await handle(post(undefined));
    expect(runs()).toBe(2);
    const strict = counted({ required: true });
    expect([(await strict.handle(post(undefined))).status, strict.runs()]).toEqual([400, 0]);
    expect((await strict.handle(post("x".repeat(2000)))).status).toBe(400);
  });

  test("keeps no failure, unless it is told to", async () => {
    const failing = () => new Response("no", { status: 503 });
    const { handle, runs } = counted({}, failing);
    await (await handle(post("a"))).text();
    await (await handle(post("a"))).text();
    expect(runs()).toBe(2);
    const all = counted({ keepIf: () => true }, failing);
    await all.handle(post("a"));
    expect([(await all.handle(post("a"))).status, all.runs()]).toEqual([503, 1]);
  });

  test("hands on what is too long to be kept, whole, and says so", async () => {
    const errors: Error[] = [];
    const options = { maxBytes: 1000, onError: (error: Error) => errors.push(error) };
    const { handle, runs } = counted(options, () => new Response("x".repeat(5000)));
    expect((await (await handle(post("a"))).text()).length).toBe(5000);
    expect((await (await handle(post("a"))).text()).length).toBe(5000);
    expect(runs()).toBe(2);
    expect(errors.map(({ message }) => message)).toEqual(
      Array(2).fill("result: got more than 1000 bytes, expected at most maxBytes (1000)"),
    );
  });
});

describe("idempotent with Lambda", () => {
  const v2 = (key?: string, body = "{}") => ({
    rawPath: "/pay",
    requestContext: { http: { method: "POST" } },
    headers: { ...(key && { "Idempotency-Key": key }) },
    body,
  });
  const answer = (runs: number) => ({
    statusCode: 201,
    headers: { "Content-Type": "text/plain", "Set-Cookie": "session=1" },
    cookies: ["session=1"],
    body: `${runs}`,
  });
  let runs = 0;
  const handlers = [
    [
      "lockHandler",
      () => lockHandler({ ...idempotent(), locker: memoryLocker() }, async (_: unknown) => answer(++runs)),
    ],
    [
      "middy",
      () =>
        middy()
          .use(lockMiddleware({ ...idempotent(), locker: memoryLocker() }))
          .handler(async () => answer(++runs)),
    ],
  ] as unknown as [string, () => (event: unknown, context: object) => Promise<unknown>][];

  test.each(handlers)("%s answers once, 422 for another body, and runs without a key", async (_, make) => {
    runs = 0;
    const handle = make();
    const first = await handle(v2("a"), {});
    expect(first).toEqual(answer(1));
    expect(await handle(v2("a"), {})).toEqual({
      statusCode: 201,
      headers: { "Content-Type": "text/plain", "idempotency-replayed": "true" },
      body: "1",
    });
    expect(await handle(v2("a", "other"), {})).toMatchObject({ statusCode: 422 });
    await handle(v2(), {});
    await handle(v2(), {});
    expect(runs).toBe(3);
  });

  test.each([
    ["API Gateway 1", { httpMethod: "POST", path: "/pay", headers: { "idempotency-key": "a" } }],
    [
      "a load balancer",
      { httpMethod: "POST", path: "/pay", multiValueHeaders: { "idempotency-key": ["a"] } },
    ],
  ])("the header is found in an event of %s", async (_, event) => {
    let runs = 0;
    const work = async (_: unknown) => answer(++runs);
    const handle = lockHandler({ ...idempotent(), locker: memoryLocker() }, work);
    await handle(event, {} as never);
    expect(await handle(event, {} as never)).toMatchObject({ statusCode: 201, body: "1" });
    expect(runs).toBe(1);
  });

  test("a key of its own, and a result that is no answer of HTTP", async () => {
    let runs = 0;
    const options = idempotent({ key: (event: { id: string }) => event.id });
    const handle = lockHandler({ ...options, locker: memoryLocker() }, async ({ id }: { id: string }) => {
      return { id, runs: ++runs };
    });
    await handle({ id: "a" }, {} as never);
    expect(await handle({ id: "a" }, {} as never)).toEqual({ id: "a", runs: 1 });
  });
});

describe("idempotent with messages", () => {
  test("a record of SQS is processed once, by its id; one that failed comes again", async () => {
    const seen: string[] = [];
    const options = { ...idempotent(), locker: memoryLocker(), onError() {} };
    const handle = lockRecords(options, async ({ messageId, lock }: SqsRecord & { lock: Lock }) => {
      seen.push(`${messageId} ${lock.held}`);
      if (messageId === "bad" && seen.length < 4) throw new Error("no luck");
    });
    const record = (messageId: string) => ({ messageId, eventSource: "aws:sqs", body: "{}" });
    const event = { Records: [record("a"), record("bad"), record("b")] };
    expect(await handle(event, {} as never)).toEqual({ batchItemFailures: [{ itemIdentifier: "bad" }] });
    expect(await handle(event, {} as never)).toEqual({ batchItemFailures: [] });
    expect(seen).toEqual(["a true", "bad true", "b true", "bad true"]);
  });

  test("a message of a Worker's queue is processed once", async () => {
    let runs = 0;
    const handle = lockQueue({ ...idempotent(), locker: memoryLocker() }, async () => void runs++);
    const acked: string[] = [];
    const message = { id: "m", body: {}, ack: () => void acked.push("m"), retry() {} };
    for (let times = 0; times < 2; times++)
      await handle({ queue: "q", messages: [message] }, {}, { waitUntil() {} });
    expect([runs, acked]).toEqual([1, ["m", "m"]]);
  });
});

test.each([
  ["keepFor", { keepFor: "40d" }],
  ["keepIf", { keepIf: true }],
  ["key", { key: "a" }],
  ["surprise", { surprise: 1 }],
])("a wrong %s is refused", (option, options) => {
  expect(() => idempotent(options as object)).toThrow(expect.objectContaining({ option }));
});
