import { Hono } from "hono";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { lockFetch } from "../../src/adapters/fetch.ts";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { createLocker, type Lock, LockLostError, LockOptionError } from "../../src/index.ts";
import { decodeState } from "../../src/protocol/state.ts";
import { memoryLocker } from "../../src/testing/index.ts";

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
/** Another ends the lock, and its holder asks for more time. */
async function lose(lock: Lock): Promise<void> {
  await createLocker(at).resume(JSON.stringify(lock)).release();
  expect(await lock.extend()).toBe(false);
}
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

  test("may have a key of what only the body tells, read in advance", async () => {
    const options = { ...at, key: async (request: Request) => `event:${(await request.clone().json()).id}` };
    const handler = lockFetch(options, async (request) =>
      Response.json([request.lock.key, await request.json()]),
    );
    const response = await handler(request({ method: "POST", body: '{"id":"evt_1"}' }));
    expect(await response.json()).toEqual(["event:evt_1", { id: "evt_1" }]);
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

  test.each([
    ["fails", () => Promise.reject(new Error("the source failed"))],
    ["never ends", () => new Promise<void>(() => {})],
  ])("is released when a body is cancelled whose source %s with that", async (_, cancel) => {
    const body = new ReadableStream({ cancel });
    const response = await lockFetch({ ...at, key }, () => new Response(body))(request());
    await response.body?.cancel();
    expect(await isFree()).toBe(true);
  });

  test("is released when a body fails before anybody reads it", async () => {
    let source: ReadableStreamDefaultController | undefined;
    const body = new ReadableStream({
      start(controller) {
        source = controller;
      },
    });
    const response = await lockFetch({ ...at, key }, () => new Response(body))(request());
    expect(await isFree()).toBe(false);
    source?.error(new Error("the source failed"));
    await untilFree();
    await expect(response.text()).rejects.toThrow("the source failed");
  });

  test("is released when all of a body was handed over, though nobody asks for more", async () => {
    const response = await lockFetch({ ...at, key }, () => new Response("all of it"))(request());
    await (response.body as ReadableStream).getReader().read();
    await untilFree();
  });

  test("is released when a body was read to its end, whatever comes of cancelling it then", async () => {
    const stopped = new AbortController();
    const handler = lockFetch({ ...at, key, holdFor: "1h", prefix: "kept:" }, () => new Response("read"));
    const response = await handler(request({ signal: stopped.signal }));
    expect(await response.text()).toBe("read");
    stopped.abort();
    expect((await handler(request())).status).toBe(423);
  });

  test("is released at once after a HEAD, whose body is cancelled, since nobody reads it", async () => {
    const { body, cancelled } = streamed("unread");
    let lock: AbortSignal | undefined;
    const handler = lockFetch({ ...at, key }, (request) => {
      lock = request.lock.signal;
      return new Response(body, { headers: { "content-length": "6" } });
    });
    const response = await handler(request({ method: "HEAD" }));
    expect([response.body, response.headers.get("content-length")]).toEqual([null, "6"]);
    expect(cancelled).toHaveLength(1);
    expect(lock?.aborted).toBe(true);
    expect(await isFree()).toBe(true);
  });

  test("is released when the handler throws, whose error comes through", async () => {
    const handler = lockFetch({ ...at, key }, () => {
      throw new Error("declined");
    });
    await expect(handler(request())).rejects.toThrow("declined");
    expect(await isFree()).toBe(true);
  });

  test("is released when the handler returns a response that cannot be sent, or none", async () => {
    const read = new Response("read");
    await read.text();
    const { body } = streamed("locked");
    body.getReader();
    // Made elsewhere, of a status that cannot be made here.
    const odd = Object.create(new Response(streamed("odd").body), { status: { value: 999 } });
    for (const response of [read, { ...new Response(), status: 200, body }, odd]) {
      await expect(lockFetch({ ...at, key }, () => response)(request())).rejects.toThrow(Error);
      expect(await isFree()).toBe(true);
    }
    for (const none of [undefined, null, "text", {}]) {
      const handler = lockFetch({ ...at, key, holdFor: "1h" }, () => none as never);
      await expect(handler(request())).rejects.toThrow(
        /^lockFetch: the handler returned .*expected a Response$/,
      );
      expect(await isFree()).toBe(true);
    }
  });

  test("counts a thrown Response by its status, as one that is returned, and throws it", async () => {
    for (const [status, kept] of [
      [302, true],
      [500, false],
    ] as const) {
      const thrown = new Response(null, { status });
      const of = `thrown:${status}`;
      const handler = lockFetch({ ...at, key: of, holdFor: "1h" }, () => {
        throw thrown;
      });
      expect(await handler(request()).catch((answer: unknown) => answer)).toBe(thrown);
      expect((await createLocker(at).tryAcquire(of)) === null).toBe(kept);
    }
  });

  test("counts what another library throws the same way, but no error of an API's client", async () => {
    const locker = memoryLocker();
    const answer = { status: 302, headers: new Headers(), body: null };
    const error = Object.assign(new Error("too many requests"), { status: 429, headers: new Headers() });
    for (const [of, thrown] of Object.entries({ answer, error })) {
      const handler = lockFetch({ locker, key: of, holdFor: "1h" }, () => {
        throw thrown;
      });
      await expect(handler(request())).rejects.toBe(thrown);
    }
    expect(await locker.tryAcquire("answer")).toBe(null);
    expect(await locker.tryAcquire("error")).not.toBe(null);
  });

  test("is kept to the end of the body of a thrown Response, too", async () => {
    const { body } = streamed("one", "two");
    const handler = lockFetch({ ...at, key }, () => {
      throw new Response(body, { status: 404 });
    });
    const answer = (await handler(request()).catch((answer: unknown) => answer)) as Response;
    expect(await isFree()).toBe(false);
    expect([answer.status, await answer.text()]).toEqual([404, "onetwo"]);
    expect(await isFree()).toBe(true);
  });

  test("is on a response as another library makes it, too", async () => {
    const { body } = streamed("one", "two");
    const foreign = { status: 201, headers: new Headers({ "x-a": "1" }), body } as Response;
    const response = await lockFetch({ ...at, key }, () => foreign)(request());
    expect([response.status, response.headers.get("x-a")]).toEqual([201, "1"]);
    expect(await isFree()).toBe(false);
    expect(await response.text()).toBe("onetwo");
    expect(await isFree()).toBe(true);
  });

  test("is named after the request where the platform names it", async () => {
    for (const name of ["x-vercel-id", "cf-ray"]) {
      const handler = lockFetch({ ...at, key }, (request) => new Response(request.lock.owner));
      const response = await handler(request({ headers: { [name]: "fra1::abc" } }));
      expect(await response.text()).toBe("fra1::abc");
    }
  });
});

describe("a body", () => {
  /** A response of a handler whose lease is short, and what its lock and its source see. */
  async function open(chunks: string[], init?: RequestInit, options: object = {}) {
    const { body, cancelled } = streamed(...chunks);
    let lock: AbortSignal | undefined;
    const told: unknown[] = [];
    const onError = (error: unknown) => void told.push(error);
    const handler = lockFetch({ ...at, key, ttl: 300, onError, ...options }, (request) => {
      lock = request.lock.signal;
      return new Response(body);
    });
    const response = await handler(request(init));
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    return { reader, lock: lock as AbortSignal, cancelled, told };
  }
  const aborted = (signal: AbortSignal) =>
    new Promise<unknown>((resolve) => signal.addEventListener("abort", () => resolve(signal.reason)));

  test("that nobody reads keeps the lock for one lease; then its source is cancelled, and it fails", async () => {
    const { reader, lock, cancelled, told } = await open(["one"]);
    const lost = await aborted(lock);
    expect(lost).toBeInstanceOf(LockLostError);
    await untilFree();
    await vi.waitFor(() => expect(cancelled).toEqual([lost]));
    await expect(reader.read()).rejects.toBe(lost);
    expect(told).toEqual([lost]);
  });

  test("that is read no further keeps the lock for no more than two leases", async () => {
    const { reader, lock } = await open(["one", "two", "three"]);
    await reader.read();
    expect(await aborted(lock)).toBeInstanceOf(LockLostError);
    await untilFree();
  });

  test("whose source brings nothing, though it is read, keeps the lock for one lease more", async () => {
    const idle = () => new Response(new ReadableStream());
    const handler = lockFetch({ ...at, key, ttl: 300, onError: () => {} }, idle);
    await expect((await handler(request())).text()).rejects.toBeInstanceOf(LockLostError);
    await untilFree();
  });

  test("that is read slowly, but is, keeps the lock", async () => {
    let renewed = Promise.withResolvers<void>();
    const onEvent = ({ type }: { type: string }) => type === "renewed" && renewed.resolve();
    const chunks = Array.from({ length: 12 }, (_, i) => `${i}`);
    const { reader, lock } = await open(chunks, {}, { onEvent });
    // Each chunk is good for a renewal: these are four leases.
    for (const _ of chunks.slice(1)) {
      expect((await reader.read()).done).toBe(false);
      await renewed.promise;
      renewed = Promise.withResolvers();
    }
    expect(lock.aborted).toBe(false);
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("11");
    expect((await reader.read()).done).toBe(true);
    expect(await isFree()).toBe(true);
  });

  test("fails when its lock was lost, also one that was deleted", async () => {
    const { reader, lock } = await open(["one", "two", "three", "four"]);
    await reader.read();
    await fetch(`${at.url}/del/lock:{${key}}`, { headers: { authorization: `Bearer ${at.token}` } });
    const lost = await aborted(lock);
    const rest = async () => {
      while (!(await reader.read()).done);
    };
    await expect(rest()).rejects.toBe(lost);
  });

  test("is handed on to its end where a loss is to be ignored", async () => {
    const { reader, lock } = await open(["one", "two"], {}, { renew: false, onLost: "ignore" });
    await aborted(lock);
    const read: string[] = [];
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read())
      read.push(new TextDecoder().decode(chunk.value));
    expect(read).toEqual(["one", "two"]);
  });

  test("whose client leaves ends at once: lock.signal aborts, its source is cancelled, the lock is free", async () => {
    const client = new AbortController();
    const { reader, lock, cancelled } = await open(["one", "two"], { signal: client.signal });
    await reader.read();
    client.abort(new Error("the tab was closed"));
    expect(lock.aborted).toBe(true);
    await untilFree();
    expect(cancelled).toEqual([new Error("the tab was closed")]);
    await expect(reader.read()).rejects.toThrow("the tab was closed");
  });

  test("whose client left while the handler worked is dropped; the work was not disturbed", async () => {
    const client = new AbortController();
    const { body, cancelled } = streamed("unread");
    let disturbed: boolean | undefined;
    const handler = lockFetch({ ...at, key }, async (request) => {
      client.abort();
      disturbed = request.lock.signal.aborted;
      return new Response(body, { status: 201 });
    });
    const response = await handler(request({ signal: client.signal }));
    expect([disturbed, response.status, response.body]).toEqual([false, 201, null]);
    expect(cancelled).toHaveLength(1);
    expect(await isFree()).toBe(true);
  });

  test.each<[string, (client: AbortController, response: Response) => unknown]>([
    ["that is cancelled", (_, response) => response.body?.cancel()],
    ["whose client leaves", (client) => client.abort()],
  ])("%s counts against the work only once it was begun", async (how, leave) => {
    const body = () => new Response(streamed("one", "two", "three").body);
    for (const [begins, status] of [
      [true, 200],
      [false, 423],
    ] as const) {
      const handler = lockFetch({ ...at, key: `${how} ${begins}`, holdFor: "1h" }, body);
      const client = new AbortController();
      const response = await handler(request({ signal: client.signal }));
      if (begins) {
        const reader = (response.body as ReadableStream).getReader();
        await reader.read();
        reader.releaseLock();
      }
      await leave(client, response);
      await vi.waitFor(async () => {
        const next = await handler(request());
        expect(next.status).toBe(status);
        // A lock that is kept, and not one that is being released.
        expect(next.headers.get("retry-after") ?? "3600").toMatch(/^3[56]/);
      });
    }
  });

  test("ends with the lock's `signal` option, but not where the handler had returned in spite of that", async () => {
    const stopping = new AbortController();
    const { reader, cancelled } = await open(["one", "two", "three"], {}, { signal: stopping.signal });
    await reader.read();
    stopping.abort(new Error("shutting down"));
    await untilFree();
    expect(cancelled).toEqual([new Error("shutting down")]);
    await expect(reader.read()).rejects.toThrow("shutting down");

    const stopped = new AbortController();
    const handler = lockFetch({ ...at, key, signal: stopped.signal }, () => {
      stopped.abort();
      return new Response("done all the same");
    });
    expect(await (await handler(request())).text()).toBe("done all the same");
    expect(await isFree()).toBe(true);
  });

  test("of bytes can be read through, and a tee of it to both ends", async () => {
    const body = new ReadableStream({
      type: "bytes",
      start(controller) {
        controller.enqueue(new TextEncoder().encode("bytes"));
        controller.close();
      },
    });
    const response = await lockFetch({ ...at, key }, () => new Response(body))(request());
    const copy = response.clone();
    expect(await Promise.all([response.text(), copy.text()])).toEqual(["bytes", "bytes"]);
    expect(await isFree()).toBe(true);
  });
});

describe("an answer of 5xx", () => {
  test.each([
    ["with a body", "the database is down"],
    ["without one", null],
  ])("%s is a failure: nothing is kept, and the next try runs", async (_, body) => {
    const handler = lockFetch(
      { ...at, key: "tick", holdFor: "1h" },
      () => new Response(body, { status: 500 }),
    );
    for (const _ of [1, 2]) {
      const response = await handler(request());
      expect(response.status).toBe(500);
      await response.text();
    }
  });

  test("of a framework inside, which made it of an error, is one too", async () => {
    const app = new Hono()
      .onError((_, c) => c.text("sorry", 500))
      .get("/cron", () => {
        throw new Error("the report could not be written");
      });
    const cron = lockFetch({ ...at, key: "cron", holdFor: "1h" }, (request) => app.fetch(request));
    for (const _ of [1, 2]) expect(await (await cron(new Request("http://shop/cron"))).text()).toBe("sorry");
  });
});

describe("two locks around one handler", () => {
  test("the outer one is kept for no success where the inner one is busy: the next try runs", async () => {
    const inner = lockFetch({ ...at, key: "database" }, () => new Response("written"));
    const tick = lockFetch({ ...at, key: "nested tick", holdFor: "1h" }, inner);
    const other = await createLocker(at).acquire("database");
    const refused = await tick(request());
    expect([refused.status, (await refused.json()).code]).toEqual([423, "LOCK_BUSY"]);
    await other.release();
    expect(await (await tick(request())).text()).toBe("written");
  });

  test("are each at request.lock in their time, held to the end of the body, and released once", async () => {
    const released: string[] = [];
    const onEvent = (event: { type: string; key: string }) =>
      event.type === "released" && released.push(event.key);
    const body = Promise.withResolvers<void>();
    const inner = lockFetch({ ...at, key: "inner", onEvent }, ({ lock }) => {
      expect(lock.key).toBe("inner");
      return new Response(
        new ReadableStream({
          async pull(controller) {
            await body.promise;
            controller.close();
          },
        }),
      );
    });
    const outer = lockFetch({ ...at, key: "outer", onEvent }, async (request) => {
      expect(request.lock.key).toBe("outer");
      return inner(request);
    });
    const response = await outer(request());
    expect(released).toEqual([]);
    body.resolve();
    await response.text();
    expect(released).toEqual(["inner", "outer"]);
  });

  test("the outer one is at request.lock again when the inner one has ended", async () => {
    const inner = lockFetch({ ...at, key: "inner" }, () => new Response(null));
    const outer = lockFetch({ ...at, key: "outer" }, async (request) => {
      await inner(request);
      return Response.json([request.lock.key, request.lock.held]);
    });
    expect(await (await outer(request())).json()).toEqual(["outer", true]);
  });

  test("of one key: the inner one is busy, and its answer the outer one's", async () => {
    const inner = lockFetch({ ...at, key }, () => new Response("in"));
    const response = await lockFetch({ ...at, key }, (request) => inner(request))(request());
    expect(response.status).toBe(423);
    await response.text();
    expect(await isFree()).toBe(true);
  });
});

describe("in a unit test", () => {
  const handler = lockFetch({ locker: memoryLocker(), key: "unit" }, () => new Response("done"));

  test("a request that is none is refused by name", async () => {
    for (const none of [undefined, null, "http://shop/"])
      await expect(handler(none as never)).rejects.toMatchObject({ code: "LOCK_OPTION", option: "request" });
  });

  test.each<[string, object, unknown?]>([
    ["a request that is an empty object", {}],
    ["a request whose functions return nothing", { headers: { get: vi.fn() }, signal: { aborted: false } }],
    ["a request whose functions return objects", { headers: { get: () => ({}) }, signal: {} }],
    ["a context whose functions return nothing", request(), { waitUntil: vi.fn() }],
    ["a context that has nothing", request(), null],
    [
      "a context that throws at every touch",
      request(),
      new Proxy(
        {},
        {
          get() {
            throw new Error("touched");
          },
        },
      ),
    ],
  ])("%s will do", async (_, request, context) => {
    const response = await handler(...([request, context] as unknown as [Request]));
    expect(await response.text()).toBe("done");
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

  test.each<[string, () => unknown]>([
    ["whose context cannot be had", () => ({ get: () => fail() })],
    [
      "whose waitUntil cannot be had",
      () => ({ get: () => Object.defineProperty({}, "waitUntil", { get: fail }) }),
    ],
    ["whose waitUntil throws", () => ({ get: () => ({ waitUntil: fail }) })],
    ["whose waitUntil rejects", () => ({ get: () => ({ waitUntil: async () => fail() }) })],
  ])("a platform %s takes no response's place", async (_, store) => {
    globals[contexts[0] as symbol] = store();
    expect(
      (await lockFetch({ ...at, key }, () => new Response(null, { status: 201 }))(request())).status,
    ).toBe(201);
    await untilFree();
    expect(await (await lockFetch({ ...at, key }, () => new Response("charged"))(request())).text()).toBe(
      "charged",
    );
    await untilFree();
  });

  function fail(): never {
    throw new Error("after the end of the request");
  }

  test("a loss that the release finds after the answer is printed", async () => {
    const printed = vi.fn();
    const told: Promise<unknown>[] = [];
    const ctx = { waitUntil: (work: Promise<unknown>) => void told.push(work) };
    const handler = lockFetch({ ...at, key, onError: printed }, async (_: Request, _ctx: typeof ctx) => {
      await fetch(`${at.url}/del/lock:{${key}}`, { headers: { authorization: `Bearer ${at.token}` } });
      return new Response(null);
    });
    expect((await handler(request(), ctx)).status).toBe(200);
    await Promise.all(told);
    expect(printed).toHaveBeenCalledExactlyOnceWith(expect.any(LockLostError), expect.any(Request), ctx);
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
      message: "The lock is held by another",
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

  test.each([
    ["nothing", () => undefined],
    ["no response", () => ({ status: "423" })],
    ["null", async () => null],
  ])(
    "an option that makes %s of it is an option error: a 500, printed, and nothing runs",
    async (_, ifBusy) => {
      const printed = vi.spyOn(console, "error").mockImplementation(() => {});
      expect((await busy(ifBusy as never)).status).toBe(500);
      expect(printed).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ option: "ifBusy" }));
      printed.mockRestore();
    },
  );

  test("the error is thrown where that is wanted", async () => {
    await expect(busy("throw")).rejects.toMatchObject({ code: "LOCK_BUSY" });
  });

  test("a request whose client leaves waits no longer, and its handler does not run", async () => {
    const first = await createLocker(at).acquire(key);
    const client = new AbortController();
    const work = vi.fn(() => new Response("served"));
    const onError = vi.fn();
    const left = lockFetch({ ...at, key, wait: "20s", onError }, work)(request({ signal: client.signal }));
    await vi.waitFor(async () => expect(await waiters()).toBe(1));
    client.abort();
    expect((await left).status).toBe(499);
    await vi.waitFor(async () => expect(await waiters()).toBe(0));
    await first.release();
    expect(await isFree()).toBe(true);
    expect([work, onError].map(({ mock }) => mock.calls)).toEqual([[], []]);
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

describe("an answer of 5xx that the adapter makes", () => {
  const nowhere = { url: "http://127.0.0.1:9", token: "t", requestTimeout: 200 };
  afterEach(() => vi.restoreAllMocks());
  const print = () => vi.spyOn(console, "error").mockImplementation(() => {});

  test("is a 503 where Redis is out of reach, which never looks busy; the cause is printed", async () => {
    const printed = print();
    const response = await lockFetch({ ...nowhere, key: "secret" }, () => new Response())(request());
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: "LOCK_UNAVAILABLE" });
    expect(printed).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ code: "LOCK_UNAVAILABLE", key: "secret", cause: expect.any(Error) }),
    );
  });

  test("is a 500 where the lock was lost when the handler returned, whose body is cancelled", async () => {
    const printed = print();
    const { body, cancelled } = streamed("charged");
    const handler = lockFetch({ ...at, key }, async ({ lock }) => {
      await lose(lock);
      return new Response(body);
    });
    const response = await handler(request());
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ code: "LOCK_LOST" });
    expect(cancelled).toHaveLength(1);
    expect(printed).toHaveBeenCalledExactlyOnceWith(expect.any(LockLostError));
  });

  test("is a 500 where the key cannot be made, which does not say what it was", async () => {
    const onError = vi.fn();
    const handler = lockFetch({ ...at, key: () => "secret".repeat(200), onError }, () => new Response());
    const response = await handler(request());
    expect(response.status).toBe(500);
    expect(await response.json()).toEqual({ code: "LOCK_OPTION" });
    expect(onError).toHaveBeenCalledExactlyOnceWith(expect.any(LockOptionError), expect.any(Request));
  });

  test("never names the key", async () => {
    print();
    const lost = lockFetch({ ...at, key: "secret" }, async ({ lock }) => {
      await lose(lock);
      return new Response();
    });
    await using _lock = await createLocker(at).acquire("secret:busy");
    const busy = lockFetch({ ...at, key: "secret:busy" }, () => new Response());
    const unavailable = lockFetch({ ...nowhere, key: "secret" }, () => new Response());
    for (const handler of [lost, busy, unavailable])
      expect(await (await handler(request())).text()).not.toContain("secret");
  });

  test("is none where the handler runs on without its lock", async () => {
    const printed = print();
    const proceed = lockFetch({ ...nowhere, key, ifUnavailable: "proceed" }, ({ lock }) =>
      Response.json(lock.held),
    );
    expect(await (await proceed(request())).json()).toBe(false);
    expect(printed).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: "LOCK_UNAVAILABLE" }));
  });
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
