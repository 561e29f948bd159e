import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { lockFetch } from "../../src/adapters/fetch.ts";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { createLocker, LockLostError, LockOptionError } from "../../src/index.ts";
import { decodeState } from "../../src/protocol/state.ts";

let dev: DevServer;
let at: { url: string; token: string };
beforeAll(async () => {
  dev = await startDevServer();
  at = { url: dev.url, token: dev.token };
});
afterAll(() => dev.close());

const request = (init?: RequestInit) => new Request("http://shop/orders/42", init);
const key = "order";
const isFree = async () => {
  const lock = await createLocker(at).tryAcquire(key);
  await lock?.release();
  return lock !== null;
};
const waiters = async () => {
  const headers = { authorization: `Bearer ${at.token}` };
  const response = await fetch(`${at.url}/get/lock:{${key}}`, { headers });
  const { result } = (await response.json()) as { result: string | null };
  return decodeState(result ?? "")?.waiters.length ?? 0;
};
const untilFree = () => vi.waitFor(async () => expect(await isFree()).toBe(true));

function streamed(...chunks: string[]) {
  const cancelled: unknown[] = [];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = chunks.shift();
      if (chunk === "error") controller.error(new Error("the source failed"));
      else if (chunk === undefined) controller.close();
      else controller.enqueue(new TextEncoder().encode(chunk));
    },
    cancel(reason) {
      cancelled.push(reason);
    },
  });
  return { body, cancelled };
}

describe("the lock of a fetch handler", () => {
  test("is at request.lock, hidden from logs, and held while the handler runs", async () => {
    const handler = lockFetch({ ...at, key }, async (request) => {
      expect(request.lock.held).toBe(true);
      expect(Object.keys(request)).not.toContain("lock");
      expect(await isFree()).toBe(false);
      return new Response(null, { status: 204 });
    });
    expect((await handler(request())).status).toBe(204);
    expect(await isFree()).toBe(true);
  });

  test("hands on whatever else the platform passes, and makes its key of all of it", async () => {
    const options = { ...at, key: (_: Request, { id }: { id: string }) => `order:${id}` };
    const handler = lockFetch(options, async (request, { id }) => new Response(`${request.lock.key} ${id}`));
    expect(await (await handler(request(), { id: "7" })).text()).toBe("order:7 7");
  });

  test("keeps status, headers and cookies of the response", async () => {
    const headers = new Headers({ "x-a": "1" });
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2");
    const handler = lockFetch({ ...at, key }, () => new Response("made", { status: 201, headers }));
    const response = await handler(request());
    expect([response.status, response.headers.get("x-a")]).toEqual([201, "1"]);
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(await response.text()).toBe("made");
    expect(await isFree()).toBe(true);
  });

  test("is kept until a streamed body has been read to its end", async () => {
    const handler = lockFetch({ ...at, key }, () => new Response(streamed("one ", "two").body));
    const reader = ((await handler(request())).body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    expect(await isFree()).toBe(false);
    await reader.read();
    expect((await reader.read()).done).toBe(true);
    expect(await isFree()).toBe(true);
  });

  test("reads no more of a body than is asked for", async () => {
    const pull = vi.fn((controller: ReadableStreamDefaultController) =>
      controller.enqueue(new Uint8Array(1)),
    );
    const body = new ReadableStream({ pull }, { highWaterMark: 0 });
    const response = await lockFetch({ ...at, key }, () => new Response(body))(request());
    expect(pull).not.toHaveBeenCalled();
    const reader = (response.body as ReadableStream).getReader();
    await reader.read();
    expect(pull).toHaveBeenCalledTimes(1);
    await reader.cancel();
  });

  test("is released when a body is cancelled, which its source learns", async () => {
    const { body, cancelled } = streamed("one", "two");
    const response = await lockFetch({ ...at, key }, () => new Response(body))(request());
    await response.body?.cancel("enough");
    expect(cancelled).toEqual(["enough"]);
    expect(await isFree()).toBe(true);
  });

  test("is released when a body fails, and the failure comes through", async () => {
    const response = await lockFetch(
      { ...at, key },
      () => new Response(streamed("one", "error").body),
    )(request());
    await expect(response.text()).rejects.toThrow("the source failed");
    expect(await isFree()).toBe(true);
  });

  test("is released at once after a HEAD, whose body nobody reads", async () => {
    await lockFetch({ ...at, key }, () => new Response("unread"))(request({ method: "HEAD" }));
    expect(await isFree()).toBe(true);
  });

  test("is released when the handler throws, whose error comes through", async () => {
    const handler = lockFetch({ ...at, key }, () => {
      throw new Error("declined");
    });
    await expect(handler(request())).rejects.toThrow("declined");
    expect(await isFree()).toBe(true);
  });

  test("is released when the handler returns a response that was read before, or none", async () => {
    const read = new Response("read");
    await read.text();
    for (const response of [read, undefined as never]) {
      await expect(lockFetch({ ...at, key }, () => response)(request())).rejects.toThrow(TypeError);
      expect(await isFree()).toBe(true);
    }
  });

  test("makes a body fail when it was lost before that had been read", async () => {
    const locker = createLocker(at);
    let lost: AbortSignal | undefined;
    const handler = lockFetch({ locker, key, ttl: 300, renew: false }, (request) => {
      lost = request.lock.signal;
      return new Response(streamed("one", "two").body);
    });
    const reader = ((await handler(request())).body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    await new Promise((resolve) => lost?.addEventListener("abort", resolve));
    await reader.read();
    await expect(reader.read()).rejects.toBeInstanceOf(LockLostError);
  });

  test("is named after the request where the platform names it", async () => {
    for (const name of ["x-vercel-id", "cf-ray"]) {
      const handler = lockFetch({ ...at, key }, (request) => new Response(request.lock.owner));
      const response = await handler(request({ headers: { [name]: "fra1::abc" } }));
      expect(await response.text()).toBe("fra1::abc");
    }
  });
});

describe("where the platform can wait", () => {
  const contexts = ["@vercel/request-context", "@next/request-context"].map((name) => Symbol.for(name));
  const globals = globalThis as Record<symbol, unknown>;
  afterEach(() => {
    for (const symbol of contexts) delete globals[symbol];
  });

  test.each(contexts)("%s is told of the release, which does not delay the response", async (symbol) => {
    const told: Promise<unknown>[] = [];
    globals[symbol] = { get: () => ({ waitUntil: (work: Promise<unknown>) => told.push(work) }) };
    const response = await lockFetch({ ...at, key }, () => new Response(null))(request());
    expect(response.status).toBe(200);
    expect(told).toHaveLength(1);
    await Promise.all(told);
    expect(await isFree()).toBe(true);
  });

  test("a context among the arguments is told of the release once the body has ended", async () => {
    const told: Promise<unknown>[] = [];
    const ctx = { waitUntil: (work: Promise<unknown>) => void told.push(work) };
    const handler = lockFetch({ ...at, key }, (_: Request, _ctx: typeof ctx) => new Response("body"));
    const response = await handler(request(), ctx);
    expect(told).toEqual([]);
    expect(await response.text()).toBe("body");
    expect(told).toHaveLength(1);
    await Promise.all(told);
    expect(await isFree()).toBe(true);
  });
});

describe("while another holds the lock", () => {
  const busy = async (ifBusy?: Parameters<typeof lockFetch>[0]["ifBusy"]) => {
    await using _lock = await createLocker(at).acquire(key, { ttl: "30s" });
    const work = vi.fn(() => new Response("done"));
    const response = await lockFetch({ ...at, key, ifBusy }, work)(request());
    expect(work).not.toHaveBeenCalled();
    return response;
  };

  test("the answer is 423 with Retry-After and the error as JSON", async () => {
    const response = await busy();
    expect([response.status, response.headers.get("retry-after")]).toEqual([423, "30"]);
    expect(await response.json()).toEqual({
      code: "LOCK_BUSY",
      message: 'The lock "order" is held by another',
    });
  });

  test("it is 204 where the handler is to be skipped", async () => {
    expect((await busy("skip")).status).toBe(204);
  });

  test("it is what the option makes of the error and the request", async () => {
    const response = await busy((error, { url }) => Response.json([error.retryAfter, url], { status: 409 }));
    expect(response.status).toBe(409);
    expect(await response.json()).toEqual([30_000, "http://shop/orders/42"]);
  });

  test("the error is thrown where that is wanted", async () => {
    await expect(busy("throw")).rejects.toMatchObject({ code: "LOCK_BUSY" });
  });

  test("a request waits as long as it may, and is served after", async () => {
    const first = await createLocker(at).acquire(key);
    const second = lockFetch({ ...at, key, wait: "20s" }, () => new Response("served"))(request());
    await vi.waitFor(async () => expect(await waiters()).toBe(1));
    await first.release();
    expect(await (await second).text()).toBe("served");
    await untilFree();
  });
});

test("Redis out of reach is a 503, and never looks busy", async () => {
  const options = { url: "http://127.0.0.1:9", token: "t", key, requestTimeout: 200 };
  const response = await lockFetch(options, () => new Response())(request());
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({ code: "LOCK_UNAVAILABLE" });
  const proceed = lockFetch({ ...options, ifUnavailable: "proceed" }, (request) =>
    Response.json(request.lock.held),
  );
  expect(await (await proceed(request())).json()).toBe(false);
});

test.each([
  [{ key: "" }, /^key: got ""/],
  [{ key, ifBusy: "wait" }, /^ifBusy: got "wait"/],
  [{ key, tll: 5 }, /^tll: got an unknown option/],
  [{ key, ttl: "soon" }, /^ttl: got "soon"/],
  [{ key, renew: false, ttl: "10s", holdFor: "1m" }, /^holdFor: got 60000, expected at most ttl \(10000\)/],
  [{ key, locker: {} }, /^locker: got some object/],
])("a wrong option fails when the handler is wrapped: %j", (options, message) => {
  const wrap = () => lockFetch({ ...at, ...options } as never, () => new Response());
  expect(wrap).toThrow(LockOptionError);
  expect(wrap).toThrow(message);
});
