import middy from "@middy/core";
import { type Context, Hono } from "hono";
import { describe, expect, test, vi } from "vitest";
import {
  lockQueue,
  lockScheduled,
  type WorkerMessage,
  lockFetch as workerFetch,
} from "../../src/adapters/cloudflare.ts";
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

  test.each([
    ["undefined", "undefined"],
    ["NaN", "a NaN"],
    ["[object Object]", "[object Object]"],
    ["1,100 characters", "x".repeat(1100)],
  ])("400 for a header that cannot be a key: %s", async (_, key) => {
    const errors: unknown[] = [];
    const handle = handlerOf(
      { ...idempotent(), locker: memoryLocker(), onError: (error: unknown) => errors.push(error) },
      () => new Response("ran"),
    );
    const response = await handle(post(key));
    expect([response.status, await response.json(), errors]).toEqual([
      400,
      { code: "LOCK_OPTION", message: expect.stringMatching(/^Idempotency-Key: got one that cannot be/) },
      [],
    ]);
  });

  test("the adapter's own key, given behind, is the one that counts", async () => {
    let runs = 0;
    const options = { ...idempotent(), locker: memoryLocker(), key: () => "mine" };
    const handle = handlerOf(options, () => new Response(`${++runs}`));
    await handle(post(undefined));
    expect([await (await handle(post("a"))).text(), runs]).toEqual(["1", 1]);
  });

  test("a body that stalls keeps its lock no longer than one lease", async () => {
    const locker = memoryLocker({ ttl: "50ms" });
    const stalled = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(3)) });
    const options = { ...idempotent(), locker, onError() {} };
    const handle = handlerOf(options, () => new Response(stalled));
    expect((await handle(post("a"))).status).toBe(500);
    expect(await locker.tryAcquire("POST /pay a")).not.toBe(null);
  });

  test("a body that gets on is kept, however long it takes", async () => {
    const locker = memoryLocker({ ttl: "600ms" });
    let pulls = 0;
    const slow = () =>
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 60));
          if (++pulls > 12) return controller.close();
          controller.enqueue(Uint8Array.of(pulls));
        },
      });
    const handle = handlerOf({ ...idempotent(), locker }, () => new Response(slow()));
    const bytes = Uint8Array.from({ length: 12 }, (_, i) => i + 1);
    expect(await (await handle(post("a"))).bytes()).toEqual(bytes);
    expect(await (await handle(post("a"))).bytes()).toEqual(bytes);
  });

  test("a body that fails is not kept: its caller gets what came of it, and the reason is told", async () => {
    const errors: unknown[] = [];
    let pulls = 0;
    const failing = () =>
      new ReadableStream({
        pull(controller) {
          if (pulls++ % 2) controller.error(new Error("torn"));
          else controller.enqueue(Uint8Array.of(65));
        },
      });
    const { handle, runs } = counted(
      { onError: (error: unknown) => errors.push(error) },
      () => new Response(failing()),
    );
    for (let times = 0; times < 2; times++) {
      const reader = (await handle(post("a"))).body?.getReader();
      expect((await reader?.read())?.value).toEqual(Uint8Array.of(65));
      await expect(reader?.read()).rejects.toThrow("torn");
    }
    expect([errors.map(String), runs()]).toEqual([["Error: torn", "Error: torn"], 2]);
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
    const never = counted({ keepIf: async () => false });
    await (await never.handle(post("a"))).text();
    await (await never.handle(post("a"))).text();
    expect(never.runs()).toBe(2);
  });

  test("keeps no 423: a lock inside was busy, and the next try may run", async () => {
    let status = 423;
    const { handle, runs } = counted({}, () => new Response("", { status }));
    await (await handle(post("a"))).text();
    status = 200;
    expect([(await handle(post("a"))).status, runs()]).toEqual([200, 2]);
  });

  test("a keepIf that throws keeps nothing: the answer goes to its caller, and the reason is told", async () => {
    const failing = () => {
      throw new Error("no opinion");
    };
    for (const keepIf of [failing, async () => failing()]) {
      const onError = vi.fn();
      const { handle, locker } = counted({ keepIf, onError });
      expect(await (await handle(post("a"))).json()).toEqual({ runs: 1, body: "{}" });
      expect(onError).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ message: "no opinion" }));
      expect(await locker.tryAcquire("POST /pay a")).not.toBe(null);
    }
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

test("a response as another library makes it is kept, too", async () => {
  let runs = 0;
  const headers = new Headers({ "content-type": "text/plain" });
  const foreign = () => ({ status: 201, headers, body: new Response(`${++runs}`).body }) as Response;
  const handle = lockFetch({ ...idempotent(), locker: memoryLocker() }, foreign);
  for (let times = 0; times < 2; times++) {
    const response = await handle(post("a"));
    expect([response.status, response.headers.get("content-type"), await response.text()]).toEqual([
      201,
      "text/plain",
      "1",
    ]);
  }
});

test("a redirect that is thrown is kept as one that is returned", async () => {
  let runs = 0;
  const handle = lockFetch({ ...idempotent(), locker: memoryLocker() }, () => {
    runs++;
    throw Response.redirect("http://shop.test/thanks");
  });
  const thrown = await handle(post("a")).catch((answer: unknown) => answer);
  const again = await handle(post("a"));
  expect([thrown, again]).toEqual([
    expect.objectContaining({ status: 302 }),
    expect.objectContaining({ status: 302 }),
  ]);
  expect([again.headers.get("location"), runs]).toEqual(["http://shop.test/thanks", 1]);
});

describe("idempotent with Hono: the body", () => {
  const reading: [string, (c: Context) => Promise<unknown>][] = [
    ["the context", (c) => c.req.json()],
    ["the request itself", (c) => c.req.raw.json()],
    ["a copy of it", (c) => c.req.raw.clone().json()],
    ["a handler behind it", async (c) => new Response(c.req.raw.body).json()],
  ];
  test.each(reading)("can be read by the handler through %s", async (_, read) => {
    const app = new Hono();
    app.post("*", lock({ ...idempotent(), locker: memoryLocker() }), async (c) => c.json(await read(c)));
    const response = await app.fetch(post("a", '{"amount":1}'));
    expect(await response.json()).toEqual({ amount: 1 });
    expect((await app.fetch(post("a", '{"amount":2}'))).status).toBe(422);
  });

  test("may have been read through the context, for the key", async () => {
    const key = async (c: Context) => (await c.req.json()).id as string;
    const app = new Hono();
    app.post("*", lock({ ...idempotent({ key }), locker: memoryLocker() }), async (c) =>
      c.json(await c.req.json()),
    );
    expect(await (await app.fetch(post(undefined, '{"id":"1"}'))).json()).toEqual({ id: "1" });
    expect((await app.fetch(post(undefined, '{"id":"1","more":1}'))).status).toBe(422);
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
      headers: { "Content-Type": "text/plain", "Idempotency-Replayed": "true" },
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

describe("idempotent with Lambda, for what others do not get", () => {
  test.each([
    ["a date", { when: new Date(0) }],
    ["bytes", { statusCode: 200, body: Buffer.from("a") }],
  ])(
    "an answer with %s goes to its own caller, says why it is not kept, and lets the lock go",
    async (_, answer) => {
      const errors: Error[] = [];
      const locker = memoryLocker();
      const options = idempotent({ key: () => "a", onError: (error) => errors.push(error) });
      const handle = lockHandler({ ...options, locker }, async (_: object) => answer);
      expect(await handle({}, {} as never)).toBe(answer);
      expect(errors).toEqual([expect.objectContaining({ option: "result" })]);
      expect(await locker.tryAcquire("a")).not.toBe(null);
    },
  );

  test("a handler that writes to a stream is refused before it runs: nothing of that could be kept", async () => {
    const work = vi.fn();
    const stream = { write: vi.fn(), once() {}, end() {}, writableFinished: true };
    const handle = lockHandler(
      { ...idempotent(), locker: memoryLocker() },
      async (_event: object, _stream: typeof stream, _context: object) => work(),
    );
    const event = { httpMethod: "POST", path: "/pay", headers: { "idempotency-key": "a" } };
    await expect(handle(event, stream, {})).rejects.toMatchObject({ option: "handler" });
    expect([work.mock.calls, stream.write.mock.calls]).toEqual([[], []]);
  });

  test("an automatic mock of a context is no stream", async () => {
    const mock = new Proxy({}, { get: (_, name) => (name in Promise.prototype ? undefined : vi.fn()) });
    const handle = lockHandler({ ...idempotent(), locker: memoryLocker() }, async () => ({
      statusCode: 200,
    }));
    const event = { httpMethod: "POST", path: "/pay", headers: { "idempotency-key": "a" } };
    expect(await handle(event, mock)).toEqual({ statusCode: 200 });
  });

  test("a load balancer that reads lists of headers alone gets its answers so", async () => {
    const event = { httpMethod: "POST", path: "/pay", multiValueHeaders: { "idempotency-key": ["a"] } };
    const locker = memoryLocker();
    const handle = lockHandler({ ...idempotent({ required: true }), locker }, async (_: object) => ({
      statusCode: 201,
      multiValueHeaders: { Location: ["/a"], "Set-Cookie": ["a=1", "b=2"] },
    }));
    const lock = await locker.acquire("POST /pay a");
    const type = { "Content-Type": ["application/json"] };
    expect(await handle(event, {} as never)).toMatchObject({
      statusCode: 409,
      multiValueHeaders: { ...type, "Retry-After": ["10"] },
    });
    expect(await handle({ ...event, multiValueHeaders: { x: ["y"] } }, {} as never)).toMatchObject({
      statusCode: 400,
      multiValueHeaders: type,
    });
    await lock.release();
    await handle(event, {} as never);
    expect(await handle(event, {} as never)).toEqual({
      statusCode: 201,
      multiValueHeaders: { Location: ["/a"], "Idempotency-Replayed": ["true"] },
    });
  });
});

describe("idempotent with messages", () => {
  test("what is refused goes back: a message without its key, and another body under the same key", async () => {
    const seen: string[] = [];
    const told: string[] = [];
    const handle = lockRecords(
      {
        ...idempotent({
          key: ({ body }: SqsRecord & { body: string }) => JSON.parse(body).id,
          required: true,
        }),
        locker: memoryLocker(),
        onError: (error, { messageId }) => told.push(`${messageId} ${(error as { code?: string }).code}`),
      },
      async ({ messageId }) => void seen.push(messageId),
    );
    const record = (messageId: string, body: object) => ({ messageId, body: JSON.stringify(body) });
    const Records = [
      ...[record("none", {}), record("first", { id: "x" })],
      ...[record("same", { id: "x" }), record("other", { id: "x", other: true })],
    ];
    expect(await handle({ Records }, {} as never)).toEqual({
      batchItemFailures: [{ itemIdentifier: "none" }, { itemIdentifier: "other" }],
    });
    expect([seen, told.sort()]).toEqual([["first"], ["none LOCK_OPTION", "other LOCK_RESULT_MISMATCH"]]);
  });

  test.each([
    ["Kinesis", { eventSource: "aws:kinesis", eventID: "shard:1", kinesis: { sequenceNumber: "1" } }],
    ["DynamoDB", { eventSource: "aws:dynamodb", eventID: "1", dynamodb: { SequenceNumber: "1" } }],
  ])("a record of %s is processed once, by its event's id", async (_, record) => {
    let runs = 0;
    const handle = lockRecords({ ...idempotent(), locker: memoryLocker() }, async () => void runs++);
    for (let times = 0; times < 2; times++) await handle({ Records: [record] }, {} as never);
    expect(runs).toBe(1);
  });

  test("a tick of a Worker is run once, by a key of its own", async () => {
    let runs = 0;
    const { key, ...options } = idempotent({ key: ({ cron }: { cron: string }) => cron, required: true });
    const handle = lockScheduled({ ...options, key, locker: memoryLocker() }, async () => void runs++);
    const tick = (cron: string) => handle({ scheduledTime: 0, cron }, {}, { waitUntil() {} });
    await tick("* * * * *");
    await tick("* * * * *");
    expect(runs).toBe(1);
    await expect(tick("")).rejects.toMatchObject({ code: "LOCK_OPTION" });
  });

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
    // Records are processed side by side.
    expect(seen.sort()).toEqual(["a true", "b true", "bad true", "bad true"]);
  });

  test("a message that its handler retries itself is processed again", async () => {
    let runs = 0;
    const handle = lockQueue({ ...idempotent(), locker: memoryLocker() }, async (message: WorkerMessage) => {
      if (++runs === 1) message.retry();
    });
    const message = { id: "m", ack: vi.fn(), retry: vi.fn() };
    for (let times = 0; times < 3; times++)
      await handle({ queue: "q", messages: [message] }, {}, { waitUntil() {} });
    expect([runs, message.retry, message.ack].map((each) => Object(each).mock?.calls.length ?? each)).toEqual(
      [2, 1, 2],
    );
  });

  test("a message of a Worker's queue is processed once, also one that JSON cannot say", async () => {
    let runs = 0;
    const handle = lockQueue({ ...idempotent(), locker: memoryLocker() }, async () => void runs++);
    const acked: string[] = [];
    const message = { id: "m", body: { amount: 1n }, ack: () => void acked.push("m"), retry() {} };
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

test("holdFor beside it is refused: keepFor says how long", () => {
  const locked = () =>
    lockFetch({ ...idempotent(), holdFor: "1h", locker: memoryLocker() }, async () => new Response());
  expect(locked).toThrow(expect.objectContaining({ option: "holdFor" }));
});
