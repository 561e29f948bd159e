import { getEventListeners } from "node:events";
import { describe, expect, test, vi } from "vitest";
import { type LockFetchOptions, lockFetch } from "../../src/adapters/fetch.ts";
import type { Lock } from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";

/** A handler of requests whose client may leave, and whose platform may wait. */
function adapter(options: Partial<LockFetchOptions> = {}) {
  const locker = memoryLocker();
  const isFree = async () => (await locker.tryAcquire("order"))?.release() ?? false;
  const handle = (work: (lock: Lock) => unknown, { signal, ...context }: Platform = {}) => {
    const handler = lockFetch<Request, unknown[]>({ locker, key: "order", ...options }, async ({ lock }) =>
      Response.json((await work(lock)) ?? null),
    );
    const request = new Request("http://shop/orders/42");
    if (signal) Object.defineProperty(request, "signal", { value: signal });
    return handler(request, context);
  };
  return { locker, isFree, handle };
}

interface Platform {
  signal?: AbortSignal;
  waitUntil?: (work?: unknown) => unknown;
}

describe("a client that leaves", () => {
  const listeners = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

  test("ends the wait, and leaves the place in the queue to others", async () => {
    const told = Promise.withResolvers<void>();
    const { handle, locker } = adapter({
      wait: "1h",
      onEvent: ({ type }) => type === "waiting" && told.resolve(),
    });
    const holder = await locker.acquire("order");
    const leaving = new AbortController();
    const work = vi.fn();
    const waiting = handle(work, { signal: leaving.signal });
    await told.promise;
    const next = locker.acquire("order", { wait: "1h" });
    leaving.abort(new Error("the tab was closed"));
    expect((await waiting).status).toBe(499);
    await holder.release();
    await (await next).release();
    expect(work).not.toHaveBeenCalled();
    expect(listeners(leaving.signal)).toBe(0);
  });

  test("before its request came takes nothing", async () => {
    const { handle, isFree } = adapter();
    const work = vi.fn();
    expect((await handle(work, { signal: AbortSignal.abort() })).status).toBe(499);
    expect(work).not.toHaveBeenCalled();
    expect(await isFree()).toBe(true);
  });

  test("does not abort the work, during which its signal is not listened to", async () => {
    const leaving = new AbortController();
    const { handle } = adapter();
    const seen: unknown[] = [];
    await handle(
      (lock) => {
        seen.push(listeners(leaving.signal));
        leaving.abort();
        seen.push(lock.signal.aborted);
      },
      { signal: leaving.signal },
    );
    expect(seen).toEqual([0, false]);
  });

  test("leaves the `signal` option its effect, and neither is listened to at the end", async () => {
    const leaving = new AbortController();
    const stopping = new AbortController();
    const { handle } = adapter({ signal: stopping.signal });
    let reason: unknown;
    const response = await handle(
      (lock) => {
        expect(listeners(stopping.signal)).toBe(1);
        stopping.abort(new Error("shutting down"));
        reason = lock.signal.reason;
      },
      { signal: leaving.signal },
    );
    await response.text();
    expect(reason).toEqual(new Error("shutting down"));
    expect([leaving, stopping].map(({ signal }) => listeners(signal))).toEqual([0, 0]);
  });

  test("is listened to no more when the lock was busy", async () => {
    const [leaving, stopping] = [new AbortController(), new AbortController()];
    const { handle, locker } = adapter({ signal: stopping.signal });
    await locker.acquire("order");
    expect((await handle(() => {}, { signal: leaving.signal })).status).toBe(423);
    expect([leaving, stopping].map(({ signal }) => listeners(signal))).toEqual([0, 0]);
  });
});

describe("a waitUntil", () => {
  test.each<[string, () => unknown]>([
    [
      "throws",
      () => {
        throw new Error("after the end of the request");
      },
    ],
    ["rejects", () => Promise.reject(new Error("after the end of the request"))],
    ["is a mock", vi.fn()],
  ])("that %s changes nothing: the response is handed on, and the lock released", async (_, waitUntil) => {
    const { handle, isFree } = adapter();
    expect(await (await handle(() => "charged", { waitUntil })).json()).toBe("charged");
    await vi.waitFor(async () => expect(await isFree()).toBe(true));
  });

  test("that throws is made up for: the release is waited for", async () => {
    const { handle, isFree } = adapter();
    const waitUntil = () => {
      throw new Error("after the end of the request");
    };
    await (await handle(() => "charged", { waitUntil })).text();
    expect(await isFree()).toBe(true);
  });

  test("does not hide a loss that is known by then", async () => {
    const { handle, locker } = adapter({ onError: () => {} });
    const lose = async (lock: Lock) => {
      await locker.resume(JSON.stringify(lock)).release();
      expect(await lock.extend()).toBe(false);
    };
    expect((await handle(lose, { waitUntil: () => {} })).status).toBe(500);
  });
});

describe("what an async `onError` does", () => {
  const reporting = (options: Partial<LockFetchOptions>) => {
    const reported = Promise.withResolvers<void>();
    let done = false;
    async function onError() {
      await reported.promise;
      done = true;
    }
    return { ...adapter({ ...options, onError }), report: reported.resolve, isDone: () => done };
  };

  test("has ended before the answer, after which a function may not go on", async () => {
    const { handle, locker, report, isDone } = reporting({});
    locker.fail("unavailable");
    const answer = handle(() => {}).then(({ status }) => [status, isDone()]);
    await new Promise((resolve) => setImmediate(resolve));
    report();
    expect(await answer).toEqual([503, true]);
  });

  test("keeps nobody from the answer if it never ends", async () => {
    const { handle, locker, isDone } = reporting({ requestTimeout: "50ms" });
    locker.fail("unavailable");
    expect([(await handle(() => {})).status, isDone()]).toEqual([503, false]);
  });

  test.each(["throw", "proceed"] as const)(
    "goes on after it where the platform waits: ifUnavailable %s",
    async (ifUnavailable) => {
      const { handle, locker, report, isDone } = reporting({ ifUnavailable });
      locker.fail("unavailable");
      const left: unknown[] = [];
      const waitUntil = (work?: unknown) => left.push(work);
      await handle(() => {}, { waitUntil });
      expect(isDone()).toBe(false);
      report();
      await Promise.all(left);
      expect(isDone()).toBe(true);
    },
  );

  test("is waited for also where a release finds the loss after the answer", async () => {
    const { handle, locker, report, isDone } = reporting({});
    const left: unknown[] = [];
    const response = await handle(() => locker.fail("lost"), {
      waitUntil: (work?: unknown) => left.push(work),
    });
    await response.text();
    report();
    await Promise.all(left);
    expect(isDone()).toBe(true);
  });
});
