import { inspect } from "node:util";
import type {
  APIGatewayProxyEvent,
  APIGatewayProxyEventV2,
  EventBridgeEvent,
  ScheduledEvent,
} from "aws-lambda";
import { afterAll, describe, expect, test, vi } from "vitest";
import { type LambdaContext, type LockHandlerOptions, lockHandler } from "../../src/adapters/lambda.ts";
import { LockBusyError, type LockEvent, LockLostError, LockOptionError } from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { lambda } from "../helpers/lambda.ts";
import { anything, startProxy } from "../helpers/proxy.ts";
import { until } from "../helpers/waiter.ts";

const backend = await (engines[0] as (typeof engines)[0]).start();
afterAll(() => backend.close());
const { url, token } = backend.server;
const held = (key: string) => backend.raw.exists(`lock:{${key}}`).then(Boolean);

interface Event {
  id: string;
}
type Options<Result> = LockHandlerOptions<[event: Event, context: LambdaContext], Result>;

const byId = <Result>(options: Partial<Options<Result>> = {}): Options<Result> => ({
  url,
  token,
  key: ({ id }) => id,
  ...options,
});

/** Events of one kind, and what a handler sees that takes its key from them. */
const kind = <E>(name: string, make: (id: string) => E, key: (event: E) => string) => ({
  name,
  async run(id: string) {
    const event = make(id);
    const handler = lockHandler({ url, token, key }, async (seen: E, { lock }) => [
      seen === event,
      lock.key,
      lock.held,
      await held(id),
    ]);
    return handler(event, lambda());
  },
});

describe("lockHandler", () => {
  test.each([
    kind(
      "API Gateway, payload 1.0",
      (id) => ({ httpMethod: "POST", pathParameters: { id } }) as unknown as APIGatewayProxyEvent,
      ({ pathParameters }) => `${pathParameters?.id}`,
    ),
    kind(
      "API Gateway, payload 2.0",
      (id) => ({ version: "2.0", pathParameters: { id } }) as unknown as APIGatewayProxyEventV2,
      ({ pathParameters }) => `${pathParameters?.id}`,
    ),
    kind(
      "EventBridge",
      (id) => ({ "detail-type": "Order Paid", detail: { id } }) as EventBridgeEvent<"Order Paid", Event>,
      ({ detail }) => detail.id,
    ),
    kind(
      "a schedule of EventBridge",
      (id) => ({ "detail-type": "Scheduled Event", id, time: "2026-11-22T02:00:00Z" }) as ScheduledEvent,
      ({ id }) => id,
    ),
    kind(
      "a direct call",
      (id) => ({ id }),
      ({ id }) => id,
    ),
    kind(
      "a direct call with a text",
      (id) => id,
      (id) => id,
    ),
  ])("holds the lock while the handler runs, and not after: $name", async ({ run }) => {
    const id = freshKey();
    expect(await run(id)).toEqual([true, id, true, true]);
    expect(await held(id)).toBe(false);
  });

  test("hands on what the handler returns, be it a promise or not", async () => {
    const result = { statusCode: 200, body: "charged", headers: { a: "b" } };
    expect(await lockHandler(byId(), () => result)({ id: freshKey() }, lambda())).toBe(result);
    expect(await lockHandler(byId(), async () => result)({ id: freshKey() }, lambda())).toBe(result);
    expect(await lockHandler(byId(), () => {})({ id: freshKey() }, lambda())).toBe(undefined);
  });

  test("an error of the handler wins, and the lock is released", async () => {
    const id = freshKey();
    const failure = new Error("the card was declined");
    const now = lockHandler(byId(), () => {
      throw failure;
    });
    await expect(now({ id }, lambda())).rejects.toBe(failure);
    const later = lockHandler(byId(), () => Promise.reject(failure));
    await expect(later({ id }, lambda())).rejects.toBe(failure);
    expect(await held(id)).toBe(false);
  });

  test("an error of the handler wins over the loss of the lock, and over a Redis that is gone", async () => {
    const failure = new Error("the card was declined");
    const losing = lockHandler(byId(), async ({ id }) => {
      await backend.raw.del(`lock:{${id}}`);
      throw failure;
    });
    await expect(losing({ id: freshKey() }, lambda())).rejects.toBe(failure);

    const proxy = await startProxy(url);
    const cutOff = lockHandler(byId({ url: proxy.url, requestTimeout: 100 }), async () => {
      await proxy.close();
      throw failure;
    });
    await expect(cutOff({ id: freshKey() }, lambda())).rejects.toBe(failure);
  });

  test("refuses the result of a handler that lost its lock, unless told not to", async () => {
    const lose = async ({ id }: Event) => {
      await backend.raw.del(`lock:{${id}}`);
      return "a result";
    };
    const strict = lockHandler(byId(), lose);
    await expect(strict({ id: freshKey() }, lambda())).rejects.toBeInstanceOf(LockLostError);
    const lax = lockHandler(byId({ onLost: "ignore" }), lose);
    expect(await lax({ id: freshKey() }, lambda())).toBe("a result");
  });

  test("hands the result over although the release could not be asked for", async () => {
    const proxy = await startProxy(url);
    const events: string[] = [];
    const onEvent = ({ type }: LockEvent) => events.push(type);
    const handler = lockHandler(byId({ url: proxy.url, requestTimeout: 100, onEvent }), async () => {
      proxy.fail(anything, ...Array.from({ length: 9 }, () => ({ hang: true as const })));
      return "charged";
    });
    expect(await handler({ id: freshKey() }, lambda())).toBe("charged");
    expect(events).toEqual(["asked", "acquired", "unavailable"]);
    await proxy.close();
  });
});

describe("while another holds the lock", () => {
  test("throws an error that names the other: its function and its request", async () => {
    const id = freshKey();
    const handler = lockHandler(byId(), async () => {
      return twin({ id }, lambda(30_000, { awsRequestId: "request-2" })).catch((error) => error);
    });
    const twin = lockHandler(byId<unknown>(), () => "in");
    const error = (await handler({ id }, lambda())) as LockBusyError;
    expect(error).toBeInstanceOf(LockBusyError);
    expect(error).toMatchObject({ key: id, owner: "charge request-1", statusCode: 423 });
    expect(error.retryAfter).toBeGreaterThan(0);
  });

  test("the `owner` option goes before what Lambda says, and without either there is none", async () => {
    const owner = lockHandler(byId({ owner: "the till" }), (_, { lock }) => lock.owner);
    expect(await owner({ id: freshKey() }, lambda())).toBe("the till");
    const none = lockHandler(byId(), (_, { lock }) => [lock.held, lock.owner]);
    expect(await none({ id: freshKey() }, {} as LambdaContext)).toEqual([true, undefined]);
  });

  test("skips the handler, or answers in its place, as it is told", async () => {
    const id = freshKey();
    const lock = await lockerAt(backend.server).acquire(id);
    const ran: string[] = [];
    const skipping = lockHandler(byId({ ifBusy: "skip" }), () => ran.push("skipping"));
    expect(await skipping({ id }, lambda())).toBe(null);
    const answering = lockHandler(
      byId<{ body: string }>({
        ifBusy: async (error, event, context) => ({
          body: `${error.code} ${event.id} ${context.functionName}`,
        }),
      }),
      () => ({ body: `ran ${ran.push("answering")}` }),
    );
    expect(await answering({ id }, lambda())).toEqual({ body: `LOCK_BUSY ${id} charge` });
    const throwing = lockHandler(byId({ ifBusy: "throw" }), () => ran.push("throwing"));
    await expect(throwing({ id }, lambda())).rejects.toBeInstanceOf(LockBusyError);
    expect(ran).toEqual([]);
    expect(await lock.release()).toBe(true);
  });

  test("an error of the answering function is the invocation's", async () => {
    const id = freshKey();
    const lock = await lockerAt(backend.server).acquire(id);
    const failure = new Error("no answer");
    const handler = lockHandler(byId({ ifBusy: () => Promise.reject(failure) }), () => {});
    await expect(handler({ id }, lambda())).rejects.toBe(failure);
    await lock.release();
  });

  test("neither skips nor answers when Redis cannot be asked", async () => {
    for (const ifBusy of ["skip", () => null] as const) {
      const nowhere = { url: "http://127.0.0.1:9", requestTimeout: 200 };
      const handler = lockHandler<Event, null>(byId({ ...nowhere, ifBusy }), () => null);
      await expect(handler({ id: freshKey() }, lambda())).rejects.toMatchObject({ code: "LOCK_UNAVAILABLE" });
    }
  });
});

describe("near the function's end", () => {
  test("a lease covers a short invocation whole, and never more than that", async () => {
    const id = freshKey();
    const events: string[] = [];
    const onEvent = ({ type }: LockEvent) => events.push(type);
    const handler = lockHandler(byId({ ttl: "1h", onEvent }), async (_, { lock }) => [
      lock.remaining,
      await backend.raw.pttl(`lock:{${id}}`),
    ]);
    const [remaining, pttl] = (await handler({ id }, lambda(2000))) as [number, number];
    expect(remaining).toBeLessThanOrEqual(2000);
    expect(pttl).toBeLessThan(2100);
    expect(events).toEqual(["asked", "acquired", "released"]);
  });

  test("a lease shorter than the function is renewed while it runs", async () => {
    const renewed: number[] = [];
    const thrice = Promise.withResolvers<void>();
    const onEvent = (event: LockEvent) => {
      if (event.type === "renewed" && renewed.push(event.remaining) === 3) thrice.resolve();
      if (event.type === "lost") thrice.reject(event.error);
    };
    const handler = lockHandler(byId({ ttl: 600, onEvent }), () => thrice.promise);
    await handler({ id: freshKey() }, lambda());
    for (const remaining of renewed) expect(remaining).toBeLessThanOrEqual(600);
  });

  test("a wait ends in time for the handler to say that it was busy", async () => {
    const id = freshKey();
    const lock = await lockerAt(backend.server).acquire(id, { ttl: "1h" });
    const handler = lockHandler(byId({ wait: "1h" }), () => {});
    const error = await handler({ id }, lambda(1000)).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(LockBusyError);
    expect((error as LockBusyError).waited).toBeGreaterThanOrEqual(890);
    await lock.release();
  });

  test("a request that gets no answer is given up in time", async () => {
    const proxy = await startProxy(url);
    proxy.fail(anything, ...Array.from({ length: 9 }, () => ({ hang: true as const })));
    const handler = lockHandler(byId({ url: proxy.url, requestTimeout: "60s" }), () => {});
    const run = handler({ id: freshKey() }, lambda(1000));
    await expect(run).rejects.toMatchObject({ code: "LOCK_UNAVAILABLE" });
    await proxy.close();
  });
});

describe("one process", () => {
  test("runs many invocations of one wrapped handler at once, each under its own lock", async () => {
    const ids = Array.from({ length: 20 }, freshKey);
    const all = Promise.withResolvers<void>();
    let inside = 0;
    const handler = lockHandler(byId(), async ({ id }, { lock, awsRequestId }) => {
      if (++inside === ids.length) all.resolve();
      await all.promise;
      return lock.key === id && lock.held && lock.owner === `charge ${awsRequestId}`;
    });
    const run = (id: string, i: number) => handler({ id }, lambda(30_000, { awsRequestId: `request-${i}` }));
    expect(await Promise.all(ids.map(run))).toEqual(ids.map(() => true));
    for (const id of ids) expect(await held(id)).toBe(false);
  });

  test("keeps the locks of invocations apart that share a context, as tests do, and those of one that asks for two", async () => {
    const shared = lambda();
    const both = Promise.withResolvers<void>();
    let inside = 0;
    const handler = lockHandler(byId(), async ({ id }, context) => {
      if (++inside === 3) both.resolve();
      await both.promise;
      return context.lock.key === id && context.lock.held;
    });
    const around = lockHandler(byId(), async (event, context) => {
      const runs = ["-1", "-2"].map((part) => handler({ id: event.id + part }, context));
      return [...(await Promise.all(runs)), context.lock.key === event.id && context.lock.held];
    });
    const results = await Promise.all([
      handler({ id: freshKey() }, shared),
      around({ id: freshKey() }, shared),
    ]);
    expect(results).toEqual([true, [true, true, true]]);
  });

  test("lets one of many invocations in that want the same lock", async () => {
    const id = freshKey();
    const refused: unknown[] = [];
    const nine = Promise.withResolvers<void>();
    const handler = lockHandler(byId(), () => nine.promise.then(() => "in"));
    const runs = Array.from({ length: 10 }, () =>
      handler({ id }, lambda()).catch((error) => {
        if (refused.push(error) === 9) nine.resolve();
        return "out";
      }),
    );
    expect((await Promise.all(runs)).sort()).toEqual(["in", ...Array(9).fill("out")]);
    for (const error of refused) expect(error).toBeInstanceOf(LockBusyError);
  });

  test("shows no token where it logs the context", async () => {
    const handler = lockHandler(byId(), async (_, context) => {
      const { lock } = context;
      expect(lock.token).not.toBe("");
      return [JSON.stringify(context), inspect(context, { depth: 9 }), Object.keys(context).join()].map(
        (text) => [lock.token, "lock"].some((secret) => text.includes(secret)),
      );
    });
    expect(await handler({ id: freshKey() }, lambda())).toEqual([false, false, false]);
  });
});

describe("a context of a unit test", () => {
  const call = (handler: unknown, ...input: unknown[]) =>
    (handler as (...input: unknown[]) => unknown)(...input);
  /** As a framework's own may be: its methods want it as their `this`. */
  class Own {
    #left = 30_000;
    getRemainingTimeInMillis() {
      return this.#left;
    }
  }

  /** As `mock<Context>()` of jest-mock-extended and vitest-mock-extended. */
  const autoMock = () =>
    new Proxy({} as Record<string | symbol, unknown>, {
      get: (made, name) => {
        if (name === "then" || typeof name === "symbol" || name === "toJSON") return made[name];
        made[name] ??= vi.fn();
        return made[name];
      },
    });

  test.each<[string, unknown[]]>([
    ["none", []],
    ["undefined", [undefined]],
    ["null", [null]],
    ["an empty one", [{}]],
    [
      "automatic mocks",
      [{ functionName: vi.fn(), awsRequestId: vi.fn(), getRemainingTimeInMillis: vi.fn() }],
    ],
    ["an automatic mock of whatever is asked for", [autoMock()]],
    [
      "a time that is not implemented",
      [
        {
          getRemainingTimeInMillis() {
            throw new Error("Function not implemented.");
          },
        },
      ],
    ],
    ["a time that is no number", [{ getRemainingTimeInMillis: () => Number.NaN }]],
    ["a promise of a time", [{ getRemainingTimeInMillis: async () => 1000 }]],
    ["a time that is no function", [{ getRemainingTimeInMillis: 1000 }]],
    ["a frozen one", [Object.freeze(lambda())]],
    ["a frozen one of a class", [Object.freeze(new Own())]],
    ["one that was used before", [Object.assign(lambda(), { lock: "of another" })]],
  ])("works: %s", async (_, context) => {
    const id = freshKey();
    const handler = lockHandler<Event, unknown>(byId(), async (_, context) => {
      try {
        context.getRemainingTimeInMillis?.call?.(context);
      } catch {}
      expect(JSON.stringify(context)).not.toContain(context.lock.token);
      return [context.lock.key, context.lock.held];
    });
    expect(await call(handler, { id }, ...context)).toEqual([id, true]);
    expect(await held(id)).toBe(false);
  });

  test.each(["context", 5, true, () => {}])("is refused by name if it is none: %s", async (context) => {
    const { requests } = backend.server.meter();
    const handler = lockHandler(byId(), () => {});
    await expect(call(handler, { id: "x" }, context)).rejects.toThrow(/^context: got /);
    expect(backend.server.meter().requests).toBe(requests);
  });
});

describe("a result that says that the work failed", () => {
  const run = <Result>(id: string, work: () => Result) =>
    lockHandler(byId<Result>({ holdFor: "1h" }), work)({ id }, lambda());

  test.each<[string, unknown]>([
    ["an answer of 500", { statusCode: 500 }],
    ["one of 599 in a text", { statusCode: "599" }],
    ["an answer of 423, as of a lock inside", { statusCode: 423 }],
    ["a Response of 503", new Response(null, { status: 503 })],
    ["records that are to come again", { batchItemFailures: [{ itemIdentifier: "1" }] }],
  ])("is handed on, and nothing is kept: %s", async (_, result) => {
    const id = freshKey();
    expect(await run(id, () => result)).toBe(result);
    expect(await held(id)).toBe(false);
  });

  test.each<[string, unknown]>([
    ["an answer of 499", { statusCode: 499 }],
    ["no records that are to come again", { batchItemFailures: [] }],
    ["nothing", undefined],
    ["null", null],
    ["a text", "500"],
  ])("is none of these: %s", async (_, result) => {
    const id = freshKey();
    await run(id, () => result);
    expect(await held(id)).toBe(true);
  });

  test("is handed on although the lock was lost as well", async () => {
    const id = freshKey();
    const result = await run(id, async () => {
      await backend.raw.del(`lock:{${id}}`);
      return { statusCode: 500 };
    });
    expect(result).toEqual({ statusCode: 500 });
  });
});

test("a timeout around the work does not release the lock while that goes on", async () => {
  const id = freshKey();
  const events: string[] = [];
  const handler = lockHandler(byId({ onEvent: ({ type }: LockEvent) => events.push(type) }), async () => {
    // As middy's, which gives up on its handler.
    throw Object.assign(new Error("[AbortError]: The operation was aborted."), { name: "TimeoutError" });
  });
  await expect(handler({ id }, lambda(500))).rejects.toMatchObject({ name: "TimeoutError" });
  await until(async () => !(await held(id)));
  expect(events).not.toContain("released");
});

describe("a key", () => {
  test("may be a promise's", async () => {
    const id = freshKey();
    const key = async (event: Event) => {
      await backend.raw.ping();
      return event.id;
    };
    const handler = lockHandler(byId({ key }), (_, { lock }) => lock.key);
    expect(await handler({ id }, lambda())).toBe(id);
  });

  test("whose promise fails is refused before any request", async () => {
    const { requests } = backend.server.meter();
    const failure = new Error("no id in the body");
    const handler = lockHandler(byId({ key: () => Promise.reject(failure) }), () => {});
    await expect(handler({ id: "x" }, lambda())).rejects.toMatchObject({ option: "key", cause: failure });
    expect(backend.server.meter().requests).toBe(requests);
  });
});

describe("refuses", () => {
  test("a durable function, before any request", async () => {
    const { requests } = backend.server.meter();
    const handler = lockHandler(byId(), () => {});
    const replayed = [
      { [Symbol.for("@aws/durable-execution-sdk-js/durable-context")]: true },
      { lambdaContext: {} },
    ];
    for (const more of replayed) {
      const run = handler({ id: freshKey() }, lambda(1000, more));
      await expect(run).rejects.toThrow(/durable function.*inside a step/);
    }
    expect(backend.server.meter().requests).toBe(requests);
  });

  test.each<[string, () => unknown]>([
    ["returns nothing", () => undefined],
    ["returns an empty text", () => ""],
    ["returns a number", () => 42],
    [
      "throws",
      () => {
        throw new Error("no id in the event");
      },
    ],
  ])("a key function that %s, before any request", async (_, key) => {
    const { requests } = backend.server.meter();
    const handler = lockHandler(byId({ key: key as () => string }), () => {});
    const error = await handler({ id: "x" }, lambda()).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(LockOptionError);
    expect((error as LockOptionError).option).toBe("key");
    expect(backend.server.meter().requests).toBe(requests);
  });

  test("to evaluate the key again, whatever the handler does to the event", async () => {
    const id = freshKey();
    let evaluated = 0;
    const key = (event: Event) => {
      evaluated++;
      return event.id;
    };
    const handler = lockHandler(byId({ key }), async (event) => {
      event.id = "another";
    });
    await handler({ id }, lambda());
    expect(evaluated).toBe(1);
    expect(await held(id)).toBe(false);
  });

  const work = () => {};
  test.each<[object, unknown, string]>([
    [{ key: "" }, work, "key"],
    [{ key: 5 }, work, "key"],
    [{}, work, "key"],
    [{ key: "k", ttl: "never" }, work, "ttl"],
    [{ key: "k", ifBusy: "wait" }, work, "ifBusy"],
    [{ key: "k", kee: "k" }, work, "kee"],
    [{ key: "k", concurrency: 5 }, work, "concurrency"],
    [{ key: "k", locker: {} }, work, "locker"],
    [{ key: "k", renew: false, ttl: "10s", holdFor: "11s" }, work, "holdFor"],
    [{ key: "k" }, undefined, "handler"],
    [{ key: "k" }, { handler: work }, "handler"],
  ])("a wrong option or handler as soon as it is given them: %j", (options, handler, option) => {
    const wrap = () => lockHandler({ url, token, ...options } as never, handler as never);
    expect(wrap).toThrow(LockOptionError);
    expect(wrap).toThrow(new RegExp(`^${option}: `));
  });
});

describe("a handler that calls back, as Lambda's own may up to Node 22,", () => {
  type Callback = (error?: Error | string | null, result?: string) => void;
  const wrap = (work: (done: Callback) => unknown) => {
    const locker = memoryLocker();
    const handler = lockHandler(
      { key: "k", locker },
      (_event: object, _context: object, done: Callback) => work(done) as Promise<string>,
    );
    return { locker, call: () => handler({}, lambda() as never) };
  };

  test("holds its lock until it did, and its result is what it called back with", async () => {
    const { locker, call } = wrap((done) => {
      locker.tryAcquire("k").then((other) => done(null, `busy: ${other === null}`));
    });
    expect(await call()).toBe("busy: true");
    expect((await locker.acquire("k")).held).toBe(true);
  });

  test("fails with the error that it called back with, and lets go", async () => {
    const { locker, call } = wrap((done) => done(new Error("no")));
    await expect(call()).rejects.toThrow("no");
    expect((await locker.acquire("k")).held).toBe(true);
  });

  test("may return a promise all the same", async () => {
    expect(await wrap(async () => "done").call()).toBe("done");
  });
});

test("a Response of another library that tells of a failure is none that keeps the lock", async () => {
  const locker = memoryLocker();
  const failed = { status: 503, headers: new Headers(), body: null };
  const handle = lockHandler({ locker, key: "order", holdFor: "1h" }, async () => failed);
  expect(await handle({}, lambda())).toBe(failed);
  expect(await locker.tryAcquire("order")).not.toBe(null);
});
