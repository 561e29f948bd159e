import { Redis } from "@upstash/redis/cloudflare";
import { afterAll, describe, expect, test, vi } from "vitest";
import { lockFetch, lockQueue, lockScheduled } from "../../src/adapters/cloudflare.ts";
import { createLocker, type Lock, LockBusyError, LockLostError, LockOptionError } from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { command, startProxy } from "../helpers/proxy.ts";

const backend = await (engines[0] as (typeof engines)[0]).start();
afterAll(() => backend.close());
const { url, token } = backend.server;
const locker = lockerAt(backend.server);
const held = (key: string) => backend.raw.exists(`lock:{${key}}`).then(Boolean);

const env = { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token };
const onError = () => {};
const nowhere = { UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9", UPSTASH_REDIS_REST_TOKEN: "none" };

/** What a Worker gets beside its event. `settled` waits for all it is to wait for. */
function context() {
  const works: Promise<unknown>[] = [];
  return { waitUntil: (work: Promise<unknown>) => void works.push(work), settled: () => Promise.all(works) };
}

const tick = { scheduledTime: Date.UTC(2026, 10, 22, 2), cron: "0 2 * * *" };

describe("the locker", () => {
  /** Runs one event; resolves to whether its lock was in the Redis of this test. */
  const use = (options: object, given: object) => {
    const key = freshKey();
    return new Promise<boolean>((resolve, reject) => {
      const handler = lockScheduled({ key, ...options }, async () => resolve(await held(key)));
      handler({ ...tick }, given, context()).catch(reject);
    });
  };

  test.each([
    ["of Upstash's names in the env", {}, env],
    ["of Vercel's names in the env", {}, { KV_REST_API_URL: url, KV_REST_API_TOKEN: token }],
    [
      "of Upstash's names where both are there",
      {},
      { ...env, KV_REST_API_URL: "http://127.0.0.1:9", KV_REST_API_TOKEN: "none" },
    ],
    ["of a URL and a token in the options, whatever the env says", { url, token }, nowhere],
    ["of a Redis in the options", { redis: new Redis({ url, token }) }, nowhere],
    ["in the options", { locker }, nowhere],
    [
      "made by the function in the options",
      { locker: ({ a }: { a: object }) => createLocker(a) },
      { a: { url, token } },
    ],
  ])("is that %s", async (_, options, given) => {
    expect(await use(options, given)).toBe(true);
  });

  test.each([
    { UPSTASH_REDIS_REST_URL: url, KV_REST_API_TOKEN: token },
    { KV_REST_API_URL: url, UPSTASH_REDIS_REST_TOKEN: token },
  ])("takes URL and token of the env as a pair: no server gets another's token", async (mixed) => {
    await expect(use({}, mixed)).rejects.toBeInstanceOf(LockOptionError);
  });

  test("is made once for an env, and another for another", async () => {
    const made: object[] = [];
    const options = {
      key: freshKey(),
      locker(env: object) {
        made.push(env);
        return locker;
      },
    };
    const handler = lockScheduled(options, () => {});
    const [one, two] = [{ name: "one" }, { name: "two" }];
    expect(made).toEqual([]);
    for (const env of [one, one, two, one, two]) await handler({ ...tick }, env, context());
    expect(made).toEqual([one, two]);
  });

  test("is missed by name where the function that makes it returns none", async () => {
    const handler = lockFetch({ key: "k", locker: () => undefined as never }, () => new Response());
    const handled = handler(new Request("http://shop/"), {}, { waitUntil() {} });
    await expect(handled).rejects.toMatchObject({ code: "LOCK_OPTION", option: "locker" });
  });

  test("is missed by the first event, not where the Worker starts, which knows no env", async () => {
    await expect(use({}, {})).rejects.toMatchObject({ code: "LOCK_OPTION", option: "url" });
    await expect(use({ locker: () => ({}) }, {})).rejects.toMatchObject({ option: "locker" });
  });

  test.each<[string, (options: never, handler: never) => unknown]>([
    ["lockFetch", lockFetch],
    ["lockScheduled", lockScheduled],
    ["lockQueue", lockQueue],
  ])("is not needed by %s to refuse a wrong option where the Worker starts", (_, wrap) => {
    const refused: [object, unknown, string][] = [
      [{ key: "" }, () => {}, "key"],
      [{ key: "k", ttl: "never" }, () => {}, "ttl"],
      [{ key: "k", kee: "k" }, () => {}, "kee"],
      [{ key: "k", locker: {} }, () => {}, "locker"],
      [{ key: "k", redis: {} }, () => {}, "redis"],
      [{ key: "k", renew: false, holdFor: "11s" }, () => {}, "holdFor"],
      [{ key: "k" }, undefined, "handler"],
    ];
    for (const [options, handler, option] of refused) {
      const make = () => wrap(options as never, handler as never);
      expect(make).toThrow(LockOptionError);
      expect(make).toThrow(new RegExp(`^${option}: `));
    }
  });

  test("sends nothing where the Worker starts", () => {
    const { requests } = backend.server.meter();
    lockFetch({ key: "k", url, token }, () => new Response());
    lockScheduled({ key: "k", url, token }, () => {});
    lockQueue({ key: "k", url, token }, () => {});
    expect(backend.server.meter().requests).toBe(requests);
  });
});

describe("lockFetch", () => {
  const request = () => new Request("http://shop/orders/42", { headers: { "cf-ray": "8a1b-FRA" } });

  test("hands on the env and the context, to the key too, and releases beside the response", async () => {
    const id = freshKey();
    const mine = { ...context(), name: "orders" };
    const bindings = { ...env, id };
    const handler = lockFetch(
      { key: (_: Request, { id }: typeof bindings, { name }: typeof mine) => `${id} ${name}` },
      async ({ lock }, given, ctx) =>
        Response.json([lock.key, lock.owner, lock.held, given === bindings, ctx === mine]),
    );
    const response = await handler(request(), bindings, mine);
    expect(await response.json()).toEqual([`${id} orders`, "8a1b-FRA", true, true, true]);
    await mine.settled();
    expect(await held(`${id} orders`)).toBe(false);
  });

  test("answers 423 while another holds the lock, and 503 where Redis cannot be asked", async () => {
    const key = freshKey();
    const lock = await locker.acquire(key);
    const handler = lockFetch({ key, requestTimeout: 200, onError }, () => new Response("in"));
    const busy = await handler(request(), env, context());
    expect([busy.status, busy.headers.get("retry-after")]).toEqual([423, "10"]);
    expect((await handler(request(), nowhere, context())).status).toBe(503);
    await lock.release();
  });

  test("counts an answer of 5xx as a failure: nothing is kept, and the next try runs", async () => {
    const handler = lockFetch(
      { key: freshKey(), holdFor: "1h" },
      () => new Response("sorry", { status: 500 }),
    );
    for (const _ of [1, 2]) {
      const mine = context();
      expect(await (await handler(request(), env, mine)).text()).toBe("sorry");
      await mine.settled();
    }
  });

  test("lets `ifBusy` answer, with what the handler would have got", async () => {
    const key = freshKey();
    const lock = await locker.acquire(key, { owner: "the other" });
    const handler = lockFetch(
      {
        key,
        ifBusy: (error, { url }, env, ctx) =>
          Response.json([error.owner, url, env === bindings, ctx === mine]),
      },
      (_request: Request, _env: typeof bindings, _ctx: ReturnType<typeof context>) => new Response("in"),
    );
    const bindings = { ...env };
    const mine = context();
    const response = await handler(request(), bindings, mine);
    expect(await response.json()).toEqual(["the other", "http://shop/orders/42", true, true]);
    await lock.release();
  });
});

describe("what an event comes with", () => {
  const message = () => ({ id: "1", ack: vi.fn(), retry: vi.fn() });
  const events: [string, (key: string, env: object, ctx: never) => Promise<unknown>][] = [
    [
      "lockFetch",
      (key, env, ctx) => lockFetch({ key }, () => new Response("in"))(new Request("http://shop"), env, ctx),
    ],
    ["lockScheduled", (key, env, ctx) => lockScheduled({ key }, () => {})({ ...tick }, env, ctx)],
    [
      "lockQueue",
      (key, env, ctx) => lockQueue({ key }, () => {})({ queue: "orders", messages: [message()] }, env, ctx),
    ],
  ];

  test.each(events)("of %s may be no context, a mock, or one that throws", async (_, run) => {
    const fail = () => {
      throw new Error("after the end of the event");
    };
    for (const ctx of [
      undefined,
      {},
      { waitUntil: vi.fn() },
      { waitUntil: fail },
      { waitUntil: async () => fail() },
    ]) {
      const key = freshKey();
      const answer = await run(key, env, ctx as never);
      if (answer instanceof Response) expect(await answer.text()).toBe("in");
      await vi.waitFor(async () => expect(await held(key)).toBe(false));
    }
  });

  test.each(events)("of %s tells what is missed in an env that is none", async (_, run) => {
    const printed = vi.spyOn(console, "error").mockImplementation(() => {});
    const outcome = await run(freshKey(), undefined as never, context() as never).catch((error) => error);
    const told = [outcome, ...printed.mock.calls.flat()];
    expect(told).toContainEqual(expect.objectContaining({ code: "LOCK_OPTION", option: "url" }));
    printed.mockRestore();
  });

  test("is refused by name where it is no event", async () => {
    const none = undefined as never;
    for (const [option, event] of [
      ["request", lockFetch({ key: "k" }, () => new Response())(none, env, context())],
      ["controller", lockScheduled({ key: "k" }, () => {})(none, env, context())],
      ["batch", lockQueue({ key: "k" }, () => {})(none, env, context())],
      ["batch", lockQueue({ key: "k" }, () => {})({} as never, env, context())],
    ] as const)
      await expect(event).rejects.toMatchObject({ code: "LOCK_OPTION", option });
  });

  test("may be asked for the key in its own time", async () => {
    const key = freshKey();
    const seen: string[] = [];
    const see = ({ lock }: { lock: Lock }) => void seen.push(lock.key);
    const options = { key: async () => key };
    await lockFetch(options, (request) => {
      see(request);
      return new Response(null);
    })(new Request("http://shop"), env, context());
    await vi.waitFor(async () => expect(await held(key)).toBe(false));
    await lockScheduled(options, see)({ ...tick }, env, context());
    await lockQueue(options, see)({ queue: "orders", messages: [message()] }, env, context());
    expect(seen).toEqual([key, key, key]);
  });
});

describe("lockScheduled", () => {
  test("holds the lock, at the controller and hidden there, while the handler runs, and not after", async () => {
    const name = freshKey();
    const input = [{ ...tick, noRetry() {} }, { ...env, name }, context()] as const;
    const handler = lockScheduled(
      { key: ({ cron }, { name }: (typeof input)[1]) => `${name} ${cron}` },
      async (controller, ...rest) => {
        expect([controller, ...rest]).toEqual(input);
        const { lock } = controller;
        expect([lock.key, lock.owner, lock.held]).toEqual([`${name} 0 2 * * *`, "scheduled 0 2 * * *", true]);
        expect(await held(lock.key)).toBe(true);
        expect(JSON.stringify(controller)).not.toContain("lock");
        return "a result";
      },
    );
    expect(await handler(...input)).toBe(undefined);
    expect(await held(`${name} 0 2 * * *`)).toBe(false);
  });

  test("hands on an error of the handler, and the loss of the lock", async () => {
    const key = freshKey();
    const failure = new Error("the disk is full");
    const failing = lockScheduled({ key }, () => Promise.reject(failure));
    await expect(failing({ ...tick }, env, context())).rejects.toBe(failure);
    expect(await held(key)).toBe(false);
    const losing = lockScheduled({ key }, () => backend.raw.del(`lock:{${key}}`));
    await expect(losing({ ...tick }, env, context())).rejects.toBeInstanceOf(LockLostError);
  });

  test("throws, skips or asks `ifBusy` while another holds the lock", async () => {
    const key = freshKey();
    const lock = await locker.acquire(key);
    const work = vi.fn();
    const run = (ifBusy?: "skip" | ((error: LockBusyError) => void)) =>
      lockScheduled({ key, ifBusy }, work)({ ...tick }, env, context());
    await expect(run()).rejects.toBeInstanceOf(LockBusyError);
    expect(await run("skip")).toBe(undefined);
    const asked = vi.fn();
    await run(asked);
    expect(asked).toHaveBeenCalledWith(expect.any(LockBusyError), { ...tick }, env, expect.anything());
    expect(work).not.toHaveBeenCalled();
    await lock.release();
  });
});

describe("behind an acquire whose replies were lost", () => {
  const options = { key: freshKey(), requestTimeout: "100ms" } as const;
  const work = () => new Response("in");
  const message = { id: "1", ack() {}, retry() {} };
  const runs: [string, (env: object, ctx: ReturnType<typeof context>) => Promise<unknown>][] = [
    [
      "lockFetch",
      (env, ctx) => lockFetch({ ...options, onError() {} }, work)(new Request("http://shop"), env, ctx),
    ],
    ["lockScheduled", (env, ctx) => lockScheduled(options, work)({ ...tick }, env, ctx)],
    [
      "lockQueue",
      (env, ctx) =>
        lockQueue({ ...options, onError() {} }, work)({ queue: "orders", messages: [message] }, env, ctx),
    ],
  ];
  test.each(runs)("%s lets the clean-up go on after the end of the handler", async (_, run) => {
    const proxy = await startProxy(url);
    proxy.fail(command("SET"), ...Array.from({ length: 5 }, () => ({ swallow: "reply" }) as const));
    const ctx = context();
    await run({ ...env, UPSTASH_REDIS_REST_URL: proxy.url }, ctx).catch(() => {});
    expect(await ctx.settled()).not.toEqual([]);
    expect(await held(options.key)).toBe(false);
    await proxy.close();
  });
});

describe("lockQueue", () => {
  /** Messages of a queue, whose body is their key, and what became of each. */
  function batch(...keys: string[]) {
    const fates: unknown[] = keys.map(() => []);
    const messages = keys.map((body, i) => {
      const fate = fates[i] as unknown[];
      return {
        id: `message-${i}`,
        body,
        ack: () => void fate.push("ack"),
        retry: (options?: object) => void fate.push("retry", options),
      };
    });
    return { queue: "orders", messages, fates };
  }
  type Message = ReturnType<typeof batch>["messages"][0];
  const key = ({ body }: Message) => body;

  test("goes on behind an onError that never ends", async () => {
    const { messages, fates, queue } = batch("order", "order");
    const handler = lockQueue<Message, object>(
      { locker: memoryLocker(), key, onError: () => new Promise(() => {}) },
      () => Promise.reject(new Error("out of stock")),
    );
    await handler({ queue, messages }, {}, { waitUntil() {} });
    expect(fates).toEqual([
      ["retry", {}],
      ["retry", {}],
    ]);
  });

  test("takes messages that are frozen, as a test may make them", async () => {
    const { messages, fates, queue } = batch("order");
    const onError = vi.fn();
    const handler = lockQueue<Message, object>({ locker: memoryLocker(), key, onError }, (message) => {
      expect(message.lock.held).toBe(true);
      message.retry();
    });
    await handler({ queue, messages: messages.map((each) => Object.freeze(each)) }, {}, { waitUntil() {} });
    expect(fates).toEqual([["retry", undefined]]);
    expect(onError).not.toHaveBeenCalled();
  });

  test("takes a message that its handler retries itself for no success: nothing is kept, nothing is told", async () => {
    const { messages, fates, queue } = batch("order");
    const onError = vi.fn();
    const options = { locker: memoryLocker(), key, holdFor: "1h", onError } as const;
    let ready = false;
    const handler = lockQueue<Message, object>(options, (message) => {
      if (!ready) message.retry({ delaySeconds: 60 });
    });
    await handler({ queue, messages }, {}, { waitUntil() {} });
    ready = true;
    await handler({ queue, messages }, {}, { waitUntil() {} });
    expect(fates).toEqual([["retry", { delaySeconds: 60 }, "ack"]]);
    expect(onError).not.toHaveBeenCalled();
  });

  test("acknowledges and retries each message alone", async () => {
    const keys = Array.from({ length: 6 }, freshKey);
    const { fates, ...orders } = batch(...keys);
    const busy = await locker.acquire(keys[1] as string);
    const errors: unknown[] = [];
    const told = (error: unknown, { id }: Message) => errors.push([id, error]);
    const failure = new Error("out of stock");
    const handler = lockQueue({ key, onError: told }, async (message: Message) => {
      if (message.id === "message-3") throw failure;
      if (message.id === "message-4") await backend.raw.del(`lock:{${message.body}}`);
    });
    expect(await handler(orders, env, context())).toBe(undefined);
    const [done, again] = [["ack"], ["retry", {}]];
    expect(fates).toEqual([done, ["retry", { delaySeconds: 10 }], done, again, again, done]);
    expect(errors).toHaveLength(3);
    expect(errors).toContainEqual(["message-1", expect.any(LockBusyError)]);
    expect(errors).toContainEqual(["message-3", failure]);
    expect(errors).toContainEqual(["message-4", expect.any(LockLostError)]);
    await busy.release();
  });

  test("retries a message that is busy when the holder's lease may end, or as late as Cloudflare can", async () => {
    const keys = [freshKey(), freshKey()] as const;
    const locks = [
      await locker.acquire(keys[0], { ttl: "90s" }),
      await locker.acquire(keys[1], { ttl: "24h" }),
    ];
    const { fates, ...orders } = batch(...keys);
    await lockQueue({ key, onError }, () => {})(orders, env, context());
    expect(fates).toEqual([
      ["retry", { delaySeconds: 90 }],
      ["retry", { delaySeconds: 43_200 }],
    ]);
    for (const lock of locks) await lock.release();
  });

  test("acknowledges a message as soon as it is done with, before the others are", async () => {
    const { fates, ...orders } = batch(freshKey(), freshKey());
    const handler = lockQueue({ key, onError }, async ({ id }: Message) => {
      if (id === "message-1")
        await vi.waitFor(() => expect(fates[0]).toEqual(["ack"]), { timeout: 50_000, interval: 5 });
    });
    await handler(orders, env, context());
    expect(fates).toEqual([["ack"], ["ack"]]);
  });

  test("hands on the env and the context; the lock is at the message, and hidden there", async () => {
    const { fates, ...orders } = batch(freshKey());
    const mine = context();
    const handler = lockQueue({ key, onError }, async (message: Message & { lock: Lock }, given, ctx) => {
      const { lock } = message;
      expect([lock.key, lock.owner, lock.held]).toEqual([message.body, "queue orders", true]);
      expect([given, ctx]).toEqual([env, mine]);
      expect(JSON.stringify(message)).not.toContain(lock.token);
    });
    await handler(orders, env, mine);
    expect(fates).toEqual([["ack"]]);
  });

  test("processes messages of one key in their order, and those of others beside them", async () => {
    const [one, two] = [freshKey(), freshKey()];
    const { fates, ...orders } = batch(one, one, two);
    const third = Promise.withResolvers<void>();
    const order: string[] = [];
    const handler = lockQueue({ key, onError }, async ({ id }: Message) => {
      if (id === "message-2") third.resolve();
      else await third.promise;
      order.push(id);
    });
    await handler(orders, env, context());
    expect(order).toEqual(["message-2", "message-0", "message-1"]);
    expect(fates).toEqual([["ack"], ["ack"], ["ack"]]);
  });
});
