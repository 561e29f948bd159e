import { getEventListeners } from "node:events";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Guard, type Invocation, type LockTarget, run } from "../../src/adapters/run.ts";
import { LockBusyError, LockLostError, LockOptionError } from "../../src/index.ts";
import type { HeldLock } from "../../src/lock.ts";
import { memoryLocker } from "../../src/testing/index.ts";

type Order = { id: string };
const order: Order = { id: "42" };

/** What every adapter does with an order. */
function adapter(options: Partial<LockTarget<[Order]>> & { onError?: (...told: unknown[]) => unknown } = {}) {
  const locker = memoryLocker();
  const guard = new Guard<[Order], string>({ locker, key: ({ id }) => `order:${id}`, ...options });
  const isFree = async (key = "order:42") => (await locker.tryAcquire(key))?.release() ?? false;
  const handle = (work: (lock: HeldLock) => unknown, about: Invocation = {}, results = {}) =>
    run(guard, [order], about, work, results);
  return { locker, isFree, handle };
}

afterEach(() => vi.restoreAllMocks());

describe("a key", () => {
  test("may be a promise's, and is made once, before the handler runs", async () => {
    const key = vi.fn(async ({ id }: Order) => `later:${id}`);
    const { handle, isFree } = adapter({ key });
    await handle(async (lock) => {
      expect(lock.key).toBe("later:42");
      expect(await isFree("later:42")).toBe(false);
    });
    expect(key).toHaveBeenCalledTimes(1);
    expect(await isFree("later:42")).toBe(true);
  });

  test.each([
    ["a function that threw", () => Promise.reject(new Error("no such account"))],
    [
      "a function that threw",
      () => {
        throw new Error("no such account");
      },
    ],
    ["some object", async () => ({}) as string],
    ["undefined", async () => undefined as unknown as string],
  ])("that cannot be made is an option error, and nothing runs: %s", async (given, key) => {
    const work = vi.fn();
    const error = await adapter({ key }).handle(work).catch(String);
    expect(error).toContain(`key: got ${given}`);
    expect(work).not.toHaveBeenCalled();
  });

  test("that was rejected has the reason as its cause", async () => {
    const cause = new Error("no such account");
    const { handle } = adapter({ key: () => Promise.reject(cause) });
    await expect(handle(() => {})).rejects.toMatchObject({ code: "LOCK_OPTION", cause });
  });
});

describe("an invocation's signal", () => {
  const listeners = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

  test("ends the wait, with its reason, and leaves the place in the queue to others", async () => {
    const { handle, locker } = adapter({
      wait: "1h",
      onEvent: ({ type }) => type === "waiting" && told.resolve(),
    });
    const told = Promise.withResolvers<void>();
    const holder = await locker.acquire("order:42");
    const leaving = new AbortController();
    const work = vi.fn();
    const waiting = handle(work, { signal: leaving.signal });
    await told.promise;
    const next = locker.acquire("order:42", { wait: "1h" });
    leaving.abort(new Error("the tab was closed"));
    await expect(waiting).rejects.toThrow("the tab was closed");
    await holder.release();
    await (await next).release();
    expect(work).not.toHaveBeenCalled();
    expect(listeners(leaving.signal)).toBe(0);
  });

  test("that was aborted before takes nothing", async () => {
    const { handle, isFree } = adapter();
    const signal = AbortSignal.abort(new Error("gone"));
    await expect(handle(() => {}, { signal })).rejects.toThrow("gone");
    expect(await isFree()).toBe(true);
  });

  test("does not abort the work, and is not listened to while that runs", async () => {
    const leaving = new AbortController();
    const { handle } = adapter();
    const work = (lock: HeldLock) => {
      expect(listeners(leaving.signal)).toBe(0);
      leaving.abort();
      return lock.signal.aborted;
    };
    expect(await handle(work, { signal: leaving.signal })).toBe(false);
  });

  test("leaves the `signal` option its effect, and neither is listened to at the end", async () => {
    const leaving = new AbortController();
    const stopping = new AbortController();
    const { handle } = adapter({ signal: stopping.signal });
    const work = (lock: HeldLock) => {
      expect(listeners(stopping.signal)).toBe(1);
      stopping.abort(new Error("shutting down"));
      return lock.signal.reason;
    };
    expect(await handle(work, { signal: leaving.signal })).toEqual(new Error("shutting down"));
    expect([leaving, stopping].map(({ signal }) => listeners(signal))).toEqual([0, 0]);
  });

  test("is listened to no more when the lock was busy", async () => {
    const [leaving, stopping] = [new AbortController(), new AbortController()];
    const { handle, locker } = adapter({ signal: stopping.signal });
    await locker.acquire("order:42");
    await expect(handle(() => {}, { signal: leaving.signal })).rejects.toBeInstanceOf(LockBusyError);
    expect([leaving, stopping].map(({ signal }) => listeners(signal))).toEqual([0, 0]);
  });
});

describe("a lock that was lost by the time its work returned", () => {
  /** An adapter, and work during which another ends the lock, and its holder asks for more time. */
  function losing(options = {}) {
    const { locker, handle } = adapter(options);
    const work = async (lock: HeldLock) => {
      await locker.resume(JSON.stringify(lock)).release();
      expect(await lock.extend()).toBe(false);
      return "done";
    };
    return (about?: Invocation, results?: object) => handle(work, about, results);
  }

  test("is an error in the result's place, which is not held for anything more", async () => {
    const results = { hold: vi.fn(), discard: vi.fn() };
    await expect(losing()({}, results)).rejects.toBeInstanceOf(LockLostError);
    expect(results.hold).not.toHaveBeenCalled();
    expect(results.discard).toHaveBeenCalledExactlyOnceWith("done");
  });

  test("is so too where the platform would wait for the release", async () => {
    await expect(losing()({ waitUntil: () => {} })).rejects.toBeInstanceOf(LockLostError);
  });

  test("changes nothing where that is to be ignored", async () => {
    expect(await losing({ onLost: "ignore" })()).toBe("done");
  });

  test("does not hide that the work failed", async () => {
    expect(await losing()({}, { succeeded: () => false })).toBe("done");
  });
});

describe("a result that is a failure", () => {
  test("lets the lock go at once, whatever it was to be kept for", async () => {
    const { handle, isFree } = adapter({ holdFor: "1h" });
    await handle(() => "declined", {}, { succeeded: (result: unknown) => result !== "declined" });
    expect(await isFree()).toBe(true);
    await handle(() => "charged", {}, { succeeded: (result: unknown) => result !== "declined" });
    expect(await isFree()).toBe(false);
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
  ])("that %s changes nothing: the result is handed on, and the lock released", async (_, waitUntil) => {
    const { handle, isFree } = adapter();
    expect(await handle(() => "charged", { waitUntil })).toBe("charged");
    await vi.waitFor(async () => expect(await isFree()).toBe(true));
  });

  test("that throws is made up for: the release is waited for", async () => {
    const { handle, isFree } = adapter();
    const waitUntil = () => {
      throw new Error("after the end of the request");
    };
    await handle(() => "charged", { waitUntil });
    expect(await isFree()).toBe(true);
  });
});

describe("a handler that runs without its lock, since Redis cannot be asked,", () => {
  const nowhere = { locker: undefined, url: "http://127.0.0.1:9", token: "t", requestTimeout: 200 };

  test("is printed, with the cause", async () => {
    const printed = vi.spyOn(console, "error").mockImplementation(() => {});
    const { handle } = adapter({ ...nowhere, ifUnavailable: "proceed" });
    expect(await handle((lock) => lock.held)).toBe(false);
    expect(printed).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ code: "LOCK_UNAVAILABLE", cause: expect.any(Error) }),
    );
  });

  test.each<[string, () => unknown]>([
    ["told", () => {}],
    [
      "told, and throws",
      () => {
        throw new Error("the tracker is down");
      },
    ],
    ["told, and rejects", () => Promise.reject(new Error("the tracker is down"))],
  ])("is what `onError` is %s", async (_, listen) => {
    const onError = vi.fn(listen);
    const { handle } = adapter({ ...nowhere, ifUnavailable: "proceed", onError });
    expect(await handle(() => "done")).toBe("done");
    expect(onError).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ code: "LOCK_UNAVAILABLE" }),
      order,
    );
  });

  test("is refused an `onError` that is none", () => {
    expect(() => adapter({ onError: "print" as never })).toThrow(LockOptionError);
  });
});
