import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";
import middy7 from "@middy/core";
import httpErrorHandler7 from "@middy/http-error-handler";
import { Lock as UpstashLock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import httpErrorHandler5 from "middy-http-error-handler5";
import httpErrorHandler6 from "middy-http-error-handler6";
import middy5 from "middy5";
import middy6 from "middy6";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { lockHandler } from "../../src/adapters/lambda.ts";
import lockMiddleware, { type LockMiddlewareOptions } from "../../src/adapters/middy.ts";
import { type Lock, LockBusyError, type LockEvent, LockLostError, LockOptionError } from "../../src/index.ts";
import { type Backend, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { anything, isJoin, startProxy } from "../helpers/proxy.ts";
import { until } from "../helpers/waiter.ts";

// biome-ignore lint/suspicious/noExplicitAny: three majors, three sets of types; test/types holds them to theirs
type Middy = any;
const majors = [
  { major: 5, middy: middy5 as Middy, httpErrorHandler: httpErrorHandler5 as Middy },
  { major: 6, middy: middy6 as Middy, httpErrorHandler: httpErrorHandler6 as Middy },
  { major: 7, middy: middy7 as Middy, httpErrorHandler: httpErrorHandler7 as Middy },
];

let backend: Backend;
beforeAll(async () => {
  backend = await (engines[0] as (typeof engines)[0]).start();
});
afterAll(() => backend?.close());

const at = () => ({ url: backend.server.url, token: backend.server.token });
const held = (key: string) => backend.raw.exists(`lock:{${key}}`).then(Boolean);

// TypeScript's library does not know it yet.
const webStream = (ReadableStream as unknown as { from(parts: AsyncIterable<string>): unknown }).from;

/** A Lambda context with so many ms left. */
function lambda(left = 30_000, more: object = {}) {
  const end = performance.now() + left;
  return {
    functionName: "charge",
    awsRequestId: "request-1",
    getRemainingTimeInMillis: () => Math.max(0, end - performance.now()),
    ...more,
  };
}

interface Event {
  id: string;
}
interface Context {
  lock: Lock;
}

const locked = (options: Partial<LockMiddlewareOptions<Event>> = {}) =>
  lockMiddleware<Event>({ ...at(), key: ({ id }) => id, ...options } as LockMiddlewareOptions<Event>);

describe.each(majors)("the middleware on middy $major", ({ middy, httpErrorHandler }) => {
  test("holds the lock while the handler runs, and not after", async () => {
    const id = freshKey();
    const handler = middy()
      .use(locked())
      .handler(async (_: Event, { lock }: Context) => [lock.key, lock.held, lock.owner, await held(id)]);
    expect(await handler({ id }, lambda())).toEqual([id, true, "charge request-1", true]);
    expect(await held(id)).toBe(false);
  });

  test("of ten concurrent invocations lets one in and turns nine away with 423 and Retry-After", async () => {
    const id = freshKey();
    const handler = middy()
      .use(httpErrorHandler({ logger: false }))
      .use(locked())
      .handler(async () => {
        await delay(200);
        return { statusCode: 200 };
      });
    const responses = await Promise.all(Array.from({ length: 10 }, () => handler({ id }, lambda())));
    const refused = responses.filter(({ statusCode }: { statusCode: number }) => statusCode === 423);
    expect(refused).toHaveLength(9);
    for (const { headers, body } of refused) {
      expect(headers["Retry-After"]).toBe("10");
      expect(body).not.toContain("request-1");
    }
    expect(await held(id)).toBe(false);
  });

  test("answers 503 when Redis cannot be asked", async () => {
    const handler = middy()
      .use(httpErrorHandler({ logger: false }))
      .use(lockMiddleware({ url: "http://127.0.0.1:9", token: "t", key: "k", requestTimeout: 200 }))
      .handler(() => ({ statusCode: 200 }));
    expect(await handler({}, lambda())).toMatchObject({ statusCode: 503 });
  });

  test("releases when the handler fails, whose error stays", async () => {
    const id = freshKey();
    const failure = new Error("the card was declined");
    const handler = middy()
      .use(locked())
      .handler(() => Promise.reject(failure));
    await expect(handler({ id }, lambda())).rejects.toBe(failure);
    expect(await held(id)).toBe(false);
  });

  test("skips the handler, or answers in its place, while another holds the lock", async () => {
    const id = freshKey();
    const lock = await lockerAt(backend.server).acquire(id);
    const ran: string[] = [];
    const skipping = middy()
      .use(locked({ ifBusy: "skip" }))
      .handler(() => ran.push("skipping"));
    expect(await skipping({ id }, lambda())).toBe(null);
    const answering = middy()
      .use(locked({ ifBusy: (error, event) => ({ statusCode: 202, body: `${error.code} ${event.id}` }) }))
      .handler(() => ran.push("answering"));
    expect(await answering({ id }, lambda())).toEqual({ statusCode: 202, body: `LOCK_BUSY ${id}` });
    expect(ran).toEqual([]);
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
  });

  test.each<[unknown, unknown]>([
    [undefined, null],
    [null, null],
    [false, false],
    [0, 0],
    ["", ""],
  ])("whatever `ifBusy` returns is the answer, and the handler never runs: %j", async (returned, answer) => {
    const id = freshKey();
    const lock = await lockerAt(backend.server).acquire(id);
    const ran = vi.fn();
    const busy = { acquire: async () => false, release: async () => false };
    for (const ifBusy of [() => returned, async () => returned]) {
      const handler = middy().use(locked({ ifBusy })).handler(ran);
      expect(await handler({ id }, lambda())).toBe(answer);
      const readyMade = middy()
        .use(lockMiddleware({ lock: () => busy, ifBusy }))
        .handler(ran);
      expect(await readyMade({ id }, lambda())).toBe(answer);
    }
    expect(ran).not.toHaveBeenCalled();
    await lock.release();
  });

  test("releases nothing that it never took", async () => {
    const id = freshKey();
    const lock = await lockerAt(backend.server).acquire(id);
    const handler = middy()
      .use(locked())
      .handler(() => {});
    await expect(handler({ id }, lambda())).rejects.toBeInstanceOf(LockBusyError);
    const early = middy()
      .before(() => {
        throw new Error("not allowed");
      })
      .use(locked())
      .handler(() => {});
    await expect(early({ id }, lambda())).rejects.toThrow("not allowed");
    expect(await lock.release()).toBe(true);
  });

  test("does not release while a handler that ran out of time is still at work", async () => {
    const id = freshKey();
    const seen: boolean[] = [];
    const timedOut = Promise.withResolvers<void>();
    const handler = middy({ timeoutEarlyInMillis: 100 })
      .use(locked())
      .handler(async (_: Event, { lock }: Context) => {
        await timedOut.promise;
        seen.push(await held(id));
        await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
        seen.push(await held(id));
      });
    const started = performance.now();
    await expect(handler({ id }, lambda(500))).rejects.toMatchObject({ name: "TimeoutError" });
    timedOut.resolve();
    // The lease was capped to the 500 ms the function had, and lapses with them.
    while (await held(id)) await delay(10);
    expect(performance.now() - started).toBeLessThan(5000);
    while (seen.length < 2) await delay(10);
    expect(seen).toEqual([true, expect.any(Boolean)]);
  });

  test.each([
    ["throws", {}],
    ["answers", { timeoutEarlyResponse: () => ({ statusCode: 504 }) }],
  ])("nor does a lockHandler around a middy that %s then", async (_, options) => {
    const id = freshKey();
    const timedOut = Promise.withResolvers<void>();
    const released = vi.fn();
    const onEvent = ({ type }: LockEvent) => type === "released" && released();
    const around = middy(options).handler(async () => {
      await timedOut.promise;
      return held(id);
    });
    const handler = lockHandler<Event, unknown, object>({ ...at(), key: ({ id }) => id, onEvent }, around);
    await handler({ id }, lambda(400)).catch(() => {});
    timedOut.resolve();
    await until(async () => !(await held(id)));
    expect(released).not.toHaveBeenCalled();
  });

  test("releases after an error of the handler that is only called TimeoutError", async () => {
    const id = freshKey();
    const handler = middy()
      .use(locked())
      .handler(async () => {
        throw new DOMException("The operation timed out", "TimeoutError");
      });
    await expect(handler({ id }, lambda())).rejects.toThrow("timed out");
    expect(await held(id)).toBe(false);
  });

  test("covers a short invocation with one lease, and renews in a long one", async () => {
    const events: string[] = [];
    const onEvent = ({ type }: LockEvent) => events.push(type);
    const short = freshKey();
    const handler = middy({ timeoutEarlyInMillis: 0 })
      .use(locked({ ttl: "10s", onEvent }))
      .handler(async ({ id }: Event, { lock }: Context) => [
        lock.remaining,
        await backend.raw.pttl(`lock:{${id}}`),
      ]);
    const [remaining, pttl] = await handler({ id: short }, lambda(2000));
    expect(remaining).toBeLessThanOrEqual(2000);
    expect(remaining).toBeGreaterThan(500);
    expect(pttl).toBeLessThan(2100);
    expect(events).toEqual(["asked", "acquired", "released"]);

    const long = middy({ timeoutEarlyInMillis: 0 })
      .use(locked({ ttl: 300, onEvent }))
      .handler(async (_: Event, { lock }: Context) => {
        while (events.filter((type) => type === "renewed").length < 3) {
          if (lock.signal.aborted) throw lock.signal.reason;
          await delay(20);
        }
      });
    await long({ id: freshKey() }, lambda(60_000));
  });

  test("waits, but never into the end of the function", async () => {
    const id = freshKey();
    const lock = await lockerAt(backend.server).acquire(id, { ttl: "1h" });
    const handler = middy({ timeoutEarlyInMillis: 0 })
      .use(locked({ wait: "1h" }))
      .handler(() => {});
    const context = lambda(1000);
    const error = await handler({ id }, context).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(LockBusyError);
    expect(error.waited).toBeGreaterThanOrEqual(890);
    await lock.release();
  });

  test("a wait whose requests hang leaves its mark in Redis, however odd the remaining time", async () => {
    const id = freshKey();
    const lock = await lockerAt(backend.server).acquire(id);
    const proxy = await startProxy(backend.server.url);
    proxy.fail(isJoin, ...Array.from({ length: 9 }, () => ({ hang: true as const })));
    const handler = middy({ timeoutEarlyInMillis: 0 })
      .use(locked({ url: proxy.url, wait: "1h" }))
      .handler(() => {});
    // A fraction of it would be no whole number of ms.
    const context = lambda(0, { getRemainingTimeInMillis: () => 1237 });
    await expect(handler({ id }, context)).rejects.toMatchObject({ code: "LOCK_UNAVAILABLE" });
    while ((await backend.raw.keys(`lock:{${id}}:gone:*`)).length === 0) await delay(5);
    await proxy.close();
    await lock.release();
  });

  test("refuses the result of a handler that lost its lock, unless told not to", async () => {
    const lose = async ({ id }: Event) => {
      await backend.raw.del(`lock:{${id}}`);
      return "a result";
    };
    const strict = middy().use(locked()).handler(lose);
    await expect(strict({ id: freshKey() }, lambda())).rejects.toBeInstanceOf(LockLostError);
    const lax = middy()
      .use(locked({ onLost: "ignore" }))
      .handler(lose);
    expect(await lax({ id: freshKey() }, lambda())).toBe("a result");
  });

  test("hands the result over although the release could not be asked for", async () => {
    const proxy = await startProxy(backend.server.url);
    const events: string[] = [];
    const handler = middy()
      .use(locked({ url: proxy.url, requestTimeout: 500, onEvent: ({ type }) => events.push(type) }))
      .handler(async () => {
        proxy.fail(anything, ...Array.from({ length: 9 }, () => ({ hang: true as const })));
        return "charged";
      });
    expect(await handler({ id: freshKey() }, lambda())).toBe("charged");
    expect(events).toEqual(["asked", "acquired", "unavailable"]);
    await proxy.close();
  });

  test("evaluates the key once, before anything can change the event", async () => {
    const id = freshKey();
    let evaluated = 0;
    const key = (event: Event) => {
      evaluated++;
      return event.id;
    };
    const handler = middy()
      .use(locked({ key }))
      .handler(async (event: Event) => {
        event.id = "another";
      });
    await handler({ id }, lambda());
    expect(evaluated).toBe(1);
    expect(await held(id)).toBe(false);
  });

  test("keeps concurrent invocations in one process apart", async () => {
    const handler = middy()
      .use(locked())
      .handler(async ({ id }: Event, { lock }: Context) => {
        await delay(Math.random() * 50);
        return lock.key === id && lock.held;
      });
    const ids = Array.from({ length: 20 }, freshKey);
    expect(new Set(await Promise.all(ids.map((id) => handler({ id }, lambda()))))).toEqual(new Set([true]));
    for (const id of ids) expect(await held(id)).toBe(false);
  });

  test.each<[string, () => unknown]>([
    ["returns nothing", () => undefined],
    ["returns an empty text", () => ""],
    [
      "throws",
      () => {
        throw new Error("no id in the event");
      },
    ],
  ])("a key function that %s is an option error before any request", async (_, key) => {
    const requests = backend.server.meter().requests;
    const handler = middy()
      .use(locked({ key: key as () => string }))
      .handler(() => {});
    const error = await handler({ id: "x" }, lambda()).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(LockOptionError);
    expect(error.option).toBe("key");
    expect(backend.server.meter().requests).toBe(requests);
  });

  test("refuses a durable function with a clear error", async () => {
    const durable = lambda(1000, { [Symbol.for("@aws/durable-execution-sdk-js/durable-context")]: true });
    const handler = middy()
      .use(locked())
      .handler(() => {});
    await expect(handler({ id: freshKey() }, durable)).rejects.toThrow(/durable function.*inside a step/);
  });

  test.each<[string, object | undefined]>([
    ["none", undefined],
    ["one that knows nothing", {}],
    ["an automatic mock", { getRemainingTimeInMillis: vi.fn(), functionName: vi.fn() }],
    ["a time that is no number", { getRemainingTimeInMillis: () => Number.NaN }],
    ["a frozen one", Object.freeze(lambda())],
  ])("works with the context of a unit test: %s", async (_, context) => {
    const id = freshKey();
    // Of a time that it does not know, middy makes a timeout at once.
    const handler = middy({ timeoutEarlyInMillis: 0 })
      .use(locked())
      .handler(async (_: Event, { lock }: Context) => lock.held);
    expect(await handler({ id }, context)).toBe(true);
    expect(await held(id)).toBe(false);
  });

  test("shows no token where the context is logged", async () => {
    const handler = middy()
      .use(locked())
      .handler(async (_: Event, context: Context) => {
        const { token } = context.lock;
        return [inspect(context, { depth: 9 }), JSON.stringify(context), JSON.stringify({ ...context })].map(
          (text) => text.includes(token),
        );
      });
    const reused = { ...lambda(), lock: "of another middleware, enumerable" };
    expect(await handler({ id: freshKey() }, lambda())).toEqual([false, false, false]);
    expect(await handler({ id: freshKey() }, reused)).toEqual([false, false, false]);
  });

  test.each<[string, object]>([
    ["an answer of 5xx", { statusCode: 503 }],
    ["records that are to come again", { batchItemFailures: [{ itemIdentifier: "1" }] }],
  ])("%s is no success: nothing is kept", async (_, result) => {
    const id = freshKey();
    const run = (result: object) =>
      middy()
        .use(locked({ holdFor: "1h" }))
        .handler(async () => result)({ id }, lambda());
    expect(await run(result)).toBe(result);
    expect(await held(id)).toBe(false);
    await run({ statusCode: 404, batchItemFailures: [] });
    expect(await held(id)).toBe(true);
  });

  describe("beside others on one handler", () => {
    /** Two locks of one request, with what happens to them. */
    const two = (outer: object = {}, inner: object = {}) => {
      const events: string[] = [];
      const log =
        (name: string) =>
        ({ type }: LockEvent) =>
          type !== "renewed" && events.push(`${name} ${type}`);
      const key = (name: string) => (event: Event) => `${event.id}${name}`;
      return {
        events,
        log,
        outer: locked({ key: key("-outer"), onEvent: log("outer"), ...outer }),
        inner: locked({ key: key("-inner"), onEvent: log("inner"), ...inner }),
      };
    };
    const bothAtWork = [
      "outer asked",
      "outer acquired",
      "inner asked",
      "inner acquired",
      "inner released",
      "outer released",
    ];

    test("each of two locks is ended once, and the handler sees the inner one", async () => {
      const id = freshKey();
      const { events, outer, inner } = two();
      const seen: string[] = [];
      const handler = middy()
        .use(outer)
        .after(({ context }: { context: Context }) => void seen.push(context.lock.key))
        .use(inner)
        .handler(async (_: Event, { lock }: Context) => lock.key);
      expect(await handler({ id }, lambda())).toBe(`${id}-inner`);
      expect(events).toEqual(bothAtWork);
      // What runs after the inner one's end is under the outer one.
      expect(seen).toEqual([`${id}-outer`]);
    });

    test("so is each of one that is registered twice, whose key differs", async () => {
      const id = freshKey();
      let nth = 0;
      const twice = locked({ key: () => `${id}-${++nth}` });
      const handler = middy()
        .use(twice)
        .use(twice)
        .handler(() => Promise.all([held(`${id}-1`), held(`${id}-2`)]));
      expect(await handler({ id }, lambda())).toEqual([true, true]);
      expect(await Promise.all([held(`${id}-1`), held(`${id}-2`)])).toEqual([false, false]);
    });

    test("so is each of one that is registered twice when the handler streams, at the stream's end", async () => {
      const id = freshKey();
      let nth = 0;
      const twice = locked({ key: () => `${id}-${++nth}` });
      const handler = middy()
        .use(twice)
        .use(twice)
        .handler(async () => Readable.from(["one"]));
      for await (const _ of await handler({ id }, lambda()))
        expect(await Promise.all([held(`${id}-1`), held(`${id}-2`)])).toEqual([true, true]);
      expect(await Promise.all([held(`${id}-1`), held(`${id}-2`)])).toEqual([false, false]);
    });

    test("each is ended once when the handler fails, and when it streams", async () => {
      const failing = two();
      const fails = middy()
        .use(failing.outer)
        .use(failing.inner)
        .handler(() => Promise.reject(new Error("the card was declined")));
      await expect(fails({ id: freshKey() }, lambda())).rejects.toThrow("declined");
      expect(failing.events).toEqual(bothAtWork);

      const streaming = two();
      const streams = middy()
        .use(streaming.outer)
        .use(streaming.inner)
        .handler(async () => Readable.from(["one"]));
      const read: string[] = [];
      for await (const chunk of await streams({ id: freshKey() }, lambda())) read.push(chunk);
      expect(read).toEqual(["one"]);
      expect(streaming.events).toEqual(bothAtWork);
    });

    test.each<[string, LockMiddlewareOptions<Event>["ifBusy"]]>([
      ["skips", "skip"],
      ["answers", () => ({ statusCode: 202 })],
      ["throws", "throw"],
    ])("where the second is busy and %s, the first lets go, and keeps nothing", async (_, ifBusy) => {
      const id = freshKey();
      const other = await lockerAt(backend.server).acquire(`${id}-inner`);
      const { events, outer, inner } = two({ holdFor: "1h" }, { ifBusy });
      const ran = vi.fn();
      const handler = middy().use(outer).use(inner).handler(ran);
      await handler({ id }, lambda()).catch(() => {});
      expect(ran).not.toHaveBeenCalled();
      expect(events).toEqual([
        "outer asked",
        "outer acquired",
        "inner asked",
        "inner busy",
        "outer released",
      ]);
      expect(await held(`${id}-outer`)).toBe(false);
      await other.release();
    });

    test.each(["middy inside lockHandler", "lockHandler inside lockHandler", "lockHandler inside middy"])(
      "and in any nesting: %s",
      async (way) => {
        const id = freshKey();
        const { events, log, outer, inner } = two();
        const wrap = (name: string, handler: (event: Event, context: Context) => unknown) =>
          lockHandler<Event, unknown, object>(
            { ...at(), key: ({ id }) => `${id}-${name}`, onEvent: log(name) },
            handler as never,
          );
        const work = async (_: Event, { lock }: Context) => [lock.key, lock.held];
        const innermost = way.startsWith("middy") ? middy().use(inner).handler(work) : wrap("inner", work);
        const seen: unknown[] = [];
        const middle = async (event: Event, context: Context) => {
          const result = await innermost(event, context);
          seen.push(context.lock.key, context.lock.held);
          return result;
        };
        const handler = way.endsWith("lockHandler")
          ? wrap("outer", middle)
          : middy().use(outer).handler(middle);
        expect(await handler({ id }, lambda())).toEqual([`${id}-inner`, true]);
        expect(seen).toEqual([`${id}-outer`, true]);
        expect(events).toEqual(bothAtWork);
      },
    );

    test("an early response of another, registered later, leaves the lock to end by itself at most", async () => {
      const id = freshKey();
      const { outer } = two({ ttl: 200 });
      const ran = vi.fn();
      const handler = middy()
        .use(outer)
        .before(async () => ({ statusCode: 204 }))
        .handler(ran);
      // As long as the function may run, it would be renewed.
      expect(await handler({ id }, lambda(900_000))).toEqual({ statusCode: 204 });
      expect(ran).not.toHaveBeenCalled();
      await until(async () => !(await held(`${id}-outer`)));
    });

    test("so does one after the handler, or for its error", async () => {
      const { outer } = two({ ttl: 200 });
      const early = async () => ({ statusCode: 200 });
      for (const handler of [
        middy().use(outer).after(early).handler(early),
        middy()
          .use(outer)
          .onError(early)
          .handler(() => Promise.reject(new Error("the card was declined"))),
      ]) {
        const id = freshKey();
        expect(await handler({ id }, lambda(900_000))).toEqual({ statusCode: 200 });
        await until(async () => !(await held(`${id}-outer`)));
      }
    });

    test("a response that a later middleware changes is what the caller gets", async () => {
      const handler = middy()
        .use(locked())
        .after((request: Middy) => {
          request.response = { ...request.response, body: "changed" };
        })
        .handler(async () => ({ statusCode: 200 }));
      expect(await handler({ id: freshKey() }, lambda())).toEqual({ statusCode: 200, body: "changed" });
    });
  });

  test.each<[string, unknown, string, RegExp]>([
    ["none", undefined, "LOCK_OPTION", /^lock: got undefined, expected one with acquire and release$/],
    ["a promise of one", Promise.resolve({}), "LOCK_OPTION", /^lock: got some object/],
    ["one that cannot be released", { acquire: async () => true }, "LOCK_OPTION", /^lock: got some object/],
    [
      "one that rejects with no error",
      { acquire: () => Promise.reject("away"), release() {} },
      "LOCK_UNAVAILABLE",
      /./,
    ],
    ["one whose acquire says nothing", { acquire: async () => {}, release() {} }, "LOCK_OPTION", /^lock: /],
  ])("tells of a ready-made lock that is %s", async (_, lock, code, message) => {
    const handler = middy()
      .use(lockMiddleware({ lock: () => lock as never }))
      .handler(async () => "ran");
    const error = await handler({}, lambda()).catch((error: unknown) => error);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("takes an option that is undefined for none, beside a ready-made lock and in its place", async () => {
    const ready = { acquire: async () => true, release: async () => true };
    for (const options of [
      { lock: () => ready, ttl: undefined },
      { lock: undefined, ...at(), key: freshKey() },
    ])
      expect(
        await middy()
          .use(lockMiddleware(options as never))
          .handler(async () => "ran")({}, lambda()),
      ).toBe("ran");
  });

  test("takes a ready-made lock that answers at once", async () => {
    const release = vi.fn(() => true);
    const handler = middy()
      .use(lockMiddleware({ lock: () => ({ acquire: () => true, release }) as never }))
      .handler(async () => "ran");
    expect(await handler({}, lambda())).toBe("ran");
    expect(release).toHaveBeenCalledOnce();
  });

  test("takes a ready-made lock of @upstash/lock, and releases it", async () => {
    const id = freshKey();
    const redis = new Redis(at());
    const handler = middy()
      .use(httpErrorHandler({ logger: false }))
      .use(
        lockMiddleware({
          lock: (event: Event) =>
            new UpstashLock({ id: event.id, redis: redis as never, retry: { attempts: 1, delay: 0 } }),
        }),
      )
      .handler(async (_: Event, { lock }: { lock: UpstashLock }) => {
        const status = await lock.getStatus();
        const twin = await handler({ id }, lambda());
        return { statusCode: 200, body: `${status}, its twin ${twin.statusCode}` };
      });
    expect(await handler({ id }, lambda())).toMatchObject({
      statusCode: 200,
      body: "ACQUIRED, its twin 423",
    });
    expect(await backend.raw.exists(id)).toBe(0);
  });

  describe("with a streamed body", () => {
    test("that another middleware's error keeps from the caller ends its source", async () => {
      const source = new Readable({ read() {} });
      const id = freshKey();
      const handler = middy()
        .after(() => {
          throw new Error("no headers");
        })
        .use(locked())
        .handler(async () => ({ statusCode: 200, body: source }));
      await expect(handler({ id }, lambda())).rejects.toThrow("no headers");
      await until(() => source.destroyed);
      expect(await held(id)).toBe(false);
    });

    // What the Lambda runtime offers, as middy uses it.
    const sink = () => {
      const chunks: string[] = [];
      return {
        chunks,
        async *consume(source: AsyncIterable<Uint8Array | string>) {
          for await (const chunk of source) chunks.push(String(chunk));
          yield* [];
        },
      };
    };
    const kinds = [
      { kind: "a Node stream", make: (parts: AsyncIterable<string>) => Readable.from(parts) },
      { kind: "a web stream", make: (parts: AsyncIterable<string>) => webStream(parts) },
    ];

    test.each(kinds)("$kind keeps the lock until its last byte is read", async ({ make }) => {
      const id = freshKey();
      const release = Promise.withResolvers<void>();
      async function* parts() {
        yield "one ";
        await release.promise;
        yield "two";
      }
      const handler = middy()
        .use(locked())
        .handler(async () => ({ statusCode: 200, headers: { a: "b" }, body: make(parts()) }));
      const response = await handler({ id }, lambda());
      expect(response).toMatchObject({ statusCode: 200, headers: { a: "b" } });
      expect(await held(id)).toBe(true);
      const { chunks, consume } = sink();
      const read = pipeline(response.body, consume, async (source: AsyncIterable<unknown>) => {
        for await (const _ of source);
      });
      while (chunks.length < 1) await delay(5);
      expect(await held(id)).toBe(true);
      release.resolve();
      await read;
      expect(chunks.join("")).toBe("one two");
      expect(await held(id)).toBe(false);
    });

    test.each(kinds)(
      "$kind that is cancelled before or while it is read releases the lock",
      async ({ make }) => {
        for (const readFirst of [false, true]) {
          const id = freshKey();
          async function* parts() {
            for (;;) yield "more";
          }
          const handler = middy()
            .use(locked())
            .handler(async () => make(parts()));
          const body = await handler({ id }, lambda());
          if (readFirst) for await (const _ of body) break;
          else if (body instanceof Readable) body.destroy();
          else await body.cancel();
          while (await held(id)) await delay(5);
        }
      },
    );

    test("a source whose lock was lost before it is read is destroyed, and the caller is told", async () => {
      const source = new PassThrough();
      const handler = middy()
        .use(locked({ renew: false, ttl: 100 }))
        .handler(async (_: Event, { lock }: Context) => {
          await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
          return { statusCode: 200, body: source };
        });
      await expect(handler({ id: freshKey() }, lambda())).rejects.toBeInstanceOf(LockLostError);
      expect(source.destroyed).toBe(true);
    });

    test.each(kinds)("$kind that fails releases the lock and keeps its error", async ({ make }) => {
      const id = freshKey();
      async function* parts() {
        yield "one";
        throw new Error("the source dried up");
      }
      const handler = middy()
        .use(locked())
        .handler(async () => ({ statusCode: 200, body: make(parts()) }));
      const { body } = await handler({ id }, lambda());
      await expect(
        (async () => {
          for await (const _ of body);
        })(),
      ).rejects.toThrow("the source dried up");
      while (await held(id)) await delay(5);
    });
  });
});

test.each(majors.slice(1))(
  "middy $major tells of an early response: the lock before it is released, and not kept",
  async ({ middy }) => {
    for (const phase of ["before", "onError"]) {
      const id = freshKey();
      const events: string[] = [];
      const handler = middy()
        .use(locked({ ttl: "1h", holdFor: "2h", onEvent: ({ type }) => events.push(type) }))
        .use({ [phase]: () => ({ statusCode: 204 }) })
        .handler(() => Promise.reject(new Error("the card was declined")));
      expect(await handler({ id }, lambda(900_000))).toEqual({ statusCode: 204 });
      await until(async () => !(await held(id)));
      expect(events).toEqual(["asked", "acquired", "released"]);
    }
  },
);

test.each(majors.slice(1))(
  "middy $major's early response for a time-out leaves the lock to a handler that is still at work",
  async ({ middy }) => {
    const id = freshKey();
    const stillAtWork = Promise.withResolvers<void>();
    const events: string[] = [];
    const handler = middy(() => stillAtWork.promise)
      .use(locked({ ttl: "1h", onEvent: ({ type }) => events.push(type) }))
      .use({ onError: () => ({ statusCode: 504 }) });
    expect(await handler({ id }, lambda(100))).toEqual({ statusCode: 504 });
    // Nor is it, until its lease ends with the function's time.
    expect(events).not.toContain("released");
    stillAtWork.resolve();
  },
);

describe("a wrong option fails when the middleware is made", () => {
  test.each([
    [{ key: "" }, "key"],
    [{ key: 5 }, "key"],
    [{ key: "k", ttl: "never" }, "ttl"],
    [{ key: "k", ifBusy: "wait" }, "ifBusy"],
    [{ key: "k", kee: "k" }, "kee"],
    [{ key: "k", locker: {} }, "locker"],
    [{ lock: "k" }, "lock"],
    [{ lock: () => ({}), ttl: 5 }, "ttl"],
  ])("%j", (options, option) => {
    const make = () => lockMiddleware({ ...("lock" in options ? {} : at()), ...options } as never);
    expect(make).toThrow(LockOptionError);
    expect(make).toThrow(new RegExp(`^${option}: `));
  });
});
