import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { timeout } from "hono/timeout";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { lockFetch } from "../../src/adapters/fetch.ts";
import { lock } from "../../src/adapters/hono.ts";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { createLocker, type Lock, LockLostError, LockOptionError } from "../../src/index.ts";

let dev: DevServer;
let at: { url: string; token: string };
beforeAll(async () => {
  dev = await startDevServer();
  at = { url: dev.url, token: dev.token };
});
afterAll(() => dev.close());

const isFree = async (key: string) => {
  const lock = await createLocker(at).tryAcquire(key);
  await lock?.release();
  return lock !== null;
};
const untilFree = (key: string) => vi.waitFor(async () => expect(await isFree(key)).toBe(true));
const aborted = (signal: AbortSignal) => new Promise((resolve) => signal.addEventListener("abort", resolve));

function newApp() {
  const app = new Hono<{ Variables: { lock: Lock } }>();
  app.onError((error, c) => c.text(error.message, 500));
  app.use("/orders/:id/*", async (c, next) => {
    await next();
    c.header("x-outer", "seen");
  });
  app.use("/orders/:id/*", lock({ ...at, key: (c) => `order:${c.req.param("id")}` }));
  app.get("/orders/:id/held", async (c) => {
    const free = await isFree(c.var.lock.key);
    return c.json({ key: c.var.lock.key, held: c.var.lock.held, free });
  });
  app.get("/orders/:id/error", () => {
    throw new Error("declined");
  });
  app.get("/orders/:id/primitive", () => {
    throw "declined";
  });
  app.get("/orders/:id/empty", (c) => c.body(null, 204));
  app.get("/orders/:id/stream", (c) => {
    const chunks = ["one", "two"];
    return c.body(
      new ReadableStream({
        pull(controller) {
          const chunk = chunks.shift();
          if (chunk) controller.enqueue(new TextEncoder().encode(chunk));
          else controller.close();
        },
      }),
    );
  });
  return app;
}

describe("the Hono middleware", () => {
  test("puts the lock at c.var.lock, holds it meanwhile and releases it after", async () => {
    const response = await newApp().request("/orders/1/held");
    expect(response.headers.get("x-outer")).toBe("seen");
    expect(await response.json()).toEqual({ key: "order:1", held: true, free: false });
    expect(await isFree("order:1")).toBe(true);
  });

  test("answers 423 with Retry-After while another holds the lock; middlewares outside see that", async () => {
    await using _lock = await createLocker(at).acquire("order:1");
    const response = await newApp().request("/orders/1/held");
    expect([response.status, response.headers.get("retry-after")]).toEqual([423, "10"]);
    expect(response.headers.get("x-outer")).toBe("seen");
    expect(await response.json()).toMatchObject({ code: "LOCK_BUSY" });
  });

  test.each([
    ["skip", 204],
    ["throw", 500],
  ] as const)("does what ifBusy says: %s", async (ifBusy, status) => {
    await using _lock = await createLocker(at).acquire("k");
    const app = new Hono().onError((error, c) => c.text(error.message, 500));
    app.get("/", lock({ ...at, key: "k", ifBusy }), (c) => c.text("never"));
    expect((await app.request("/")).status).toBe(status);
  });

  test("releases after an error that Hono caught, without a window kept for a success", async () => {
    const app = new Hono().onError((_, c) => c.text("handled", 500));
    app.get("/", lock({ ...at, key: "k", holdFor: "1h" }), () => {
      throw new Error("declined");
    });
    expect(await (await app.request("/")).text()).toBe("handled");
    expect(await isFree("k")).toBe(true);
  });

  test("releases after a thrown primitive, which comes through", async () => {
    await expect(newApp().request("/orders/1/primitive")).rejects.toBe("declined");
    expect(await isFree("order:1")).toBe(true);
  });

  test("releases after a response without a body, and after a HEAD", async () => {
    expect((await newApp().request("/orders/1/empty")).status).toBe(204);
    expect(await isFree("order:1")).toBe(true);
    expect((await newApp().request("/orders/1/held", { method: "HEAD" })).status).toBe(200);
    expect(await isFree("order:1")).toBe(true);
  });

  test("holds the lock until a streamed body has been read to its end", async () => {
    const response = await newApp().request("/orders/1/stream");
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    expect(await isFree("order:1")).toBe(false);
    while (!(await reader.read()).done);
    expect(await isFree("order:1")).toBe(true);
  });

  test("tells a Worker's execution context of the release", async () => {
    const told: Promise<unknown>[] = [];
    const ctx = {
      waitUntil: (work: Promise<unknown>) => void told.push(work),
      passThroughOnException() {},
      props: {},
    };
    await newApp().request("/orders/1/empty", undefined, {}, ctx);
    expect(told).toHaveLength(1);
    await Promise.all(told);
    expect(await isFree("order:1")).toBe(true);
  });

  test("works behind a real server of Node, which reads the body", async () => {
    const server = serve({ fetch: newApp().fetch, port: 0 });
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    const response = await fetch(`http://127.0.0.1:${port}/orders/1/stream`);
    expect(await response.text()).toBe("onetwo");
    expect(await isFree("order:1")).toBe(true);
    await new Promise((resolve) => server.close(resolve));
  });

  test("makes its key of what only the body tells, which the handler can read too", async () => {
    const app = new Hono().post(
      "/",
      lock({ ...at, key: async (c) => `event:${(await c.req.json()).id}` }),
      async (c) => c.json([c.var.lock.key, await c.req.json()]),
    );
    const response = await app.request("/", { method: "POST", body: '{"id":"evt_1"}' });
    expect(await response.json()).toEqual(["event:evt_1", { id: "evt_1" }]);
  });

  test("counts an answer of 5xx as a failure: nothing is kept, and the next try runs", async () => {
    const app = new Hono().get("/", lock({ ...at, key: "tick", holdFor: "1h" }), (c) => c.text("sorry", 500));
    for (const _ of [1, 2]) expect(await (await app.request("/")).text()).toBe("sorry");
  });

  test("answers 500 where the lock was lost when the handler returned, and prints that", async () => {
    const onError = vi.fn();
    const app = new Hono<{ Variables: { lock: Lock } }>();
    app.get("/", lock({ ...at, key: "k", onError }), async (c) => {
      await createLocker(at).resume(JSON.stringify(c.var.lock)).release();
      expect(await c.var.lock.extend()).toBe(false);
      return c.text("charged", 200, { "x-charged": "yes" });
    });
    const response = await app.request("/");
    expect([response.status, response.headers.get("x-charged")]).toEqual([500, null]);
    expect(await response.json()).toMatchObject({ code: "LOCK_LOST" });
    expect(onError).toHaveBeenCalledExactlyOnceWith(expect.any(LockLostError), expect.anything());
  });

  test("answers 503 where Redis is out of reach, and prints the cause", async () => {
    const onError = vi.fn();
    const nowhere = { url: "http://127.0.0.1:9", token: "t", requestTimeout: 200 };
    const app = new Hono().get("/", lock({ ...nowhere, key: "k", onError }), (c) => c.text("never"));
    expect((await app.request("/")).status).toBe(503);
    expect(onError).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ cause: expect.any(Error) }),
      expect.anything(),
    );
  });

  test("answers 500 where `ifBusy` makes no response, and the handler does not run", async () => {
    await using _lock = await createLocker(at).acquire("k");
    const options = { ...at, key: "k", ifBusy: (() => {}) as never, onError: vi.fn() };
    const work = vi.fn();
    expect((await new Hono().get("/", lock(options), work).request("/")).status).toBe(500);
    expect(work).not.toHaveBeenCalled();
  });

  test("aborts lock.signal of a handler that works on after a timeout inside, before another gets in", async () => {
    const seen = Promise.withResolvers<unknown>();
    const app = new Hono<{ Variables: { lock: Lock } }>();
    app.get("/", lock({ ...at, key: "k" }), timeout(50), async (c) => {
      await aborted(c.var.lock.signal);
      seen.resolve(c.var.lock.held);
      return c.text("too late");
    });
    expect((await app.request("/")).status).toBe(504);
    expect(await seen.promise).toBe(false);
    expect(await isFree("k")).toBe(true);
  });

  test("gives up a response that a timeout outside has replaced after one lease", async () => {
    const replaced = Promise.withResolvers<void>();
    const app = new Hono<{ Variables: { lock: Lock } }>();
    app.get("/", timeout(50), lock({ ...at, key: "k", ttl: 300, onError: () => {} }), async (c) => {
      await replaced.promise;
      return c.text("unread");
    });
    expect((await app.request("/")).status).toBe(504);
    replaced.resolve();
    await untilFree("k");
  });

  test("cancels a body that is not sent: after a HEAD, and where the client left", async () => {
    const client = new AbortController();
    const cancel = vi.fn();
    const app = new Hono().get("/", lock({ ...at, key: "k" }), (c) => {
      if (c.req.query("leaves")) client.abort();
      return c.body(new ReadableStream({ cancel }), 201);
    });
    expect((await app.request("/", { method: "HEAD" })).status).toBe(201);
    expect(cancel).toHaveBeenCalledTimes(1);
    expect(await isFree("k")).toBe(true);
    await app.request("/?leaves=yes", { signal: client.signal });
    expect(cancel).toHaveBeenCalledTimes(2);
    expect(await isFree("k")).toBe(true);
  });

  test("waits no longer for a client that has left", async () => {
    const waiting = Promise.withResolvers<void>();
    const onEvent = ({ type }: { type: string }) => type === "waiting" && waiting.resolve();
    const client = new AbortController();
    const work = vi.fn();
    const app = new Hono().get("/", lock({ ...at, key: "k", wait: "20s", onEvent }), work);
    const first = await createLocker(at).acquire("k");
    const left = app.request("/", { signal: client.signal });
    await waiting.promise;
    client.abort();
    expect((await left).status).toBe(499);
    await first.release();
    await untilFree("k");
    expect(work).not.toHaveBeenCalled();
  });

  test("works twice on one route: each lock is at c.var.lock in its time, and released once", async () => {
    const released: string[] = [];
    const onEvent = (event: { type: string; key: string }) =>
      event.type === "released" && released.push(event.key);
    const seen: string[] = [];
    const app = new Hono<{ Variables: { lock: Lock } }>();
    app.use(lock({ ...at, key: "outer", onEvent }));
    app.use(async (c, next) => {
      seen.push(c.var.lock.key);
      await next();
      seen.push(c.var.lock.key);
    });
    app.get("/empty", lock({ ...at, key: "inner", onEvent }), (c) => c.body(null));
    app.get("/text", lock({ ...at, key: "inner", onEvent }), (c) => c.text(c.var.lock.key));
    await app.request("/empty");
    expect(seen).toEqual(["outer", "outer"]);
    expect(await (await app.request("/text")).text()).toBe("inner");
    expect(released).toEqual(["inner", "outer", "inner", "outer"]);
  });

  test("works inside of lockFetch", async () => {
    const app = new Hono().get("/", lock({ ...at, key: "inner" }), (c) => c.text(c.var.lock.key));
    const handler = lockFetch({ ...at, key: "outer" }, (request) => app.fetch(request));
    const response = await handler(new Request("http://shop/"));
    expect([await isFree("inner"), await isFree("outer")]).toEqual([false, false]);
    expect(await response.text()).toBe("inner");
    expect([await isFree("inner"), await isFree("outer")]).toEqual([true, true]);
  });

  test("is not disturbed by an execution context that throws", async () => {
    const ctx = {
      waitUntil() {
        throw new Error("after the end of the request");
      },
      passThroughOnException() {},
      props: {},
    };
    expect((await newApp().request("/orders/1/empty", undefined, {}, ctx)).status).toBe(204);
    expect(await isFree("order:1")).toBe(true);
  });

  test("refuses a wrong option when it is made", () => {
    expect(() => lock({ ...at, key: "k", ttl: "soon" as never })).toThrow(LockOptionError);
  });
});
