import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { lock } from "../../src/adapters/hono.ts";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { createLocker, type Lock, LockOptionError } from "../../src/index.ts";

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

  test("refuses a wrong option when it is made", () => {
    expect(() => lock({ ...at, key: "k", ttl: "soon" as never })).toThrow(LockOptionError);
  });
});
