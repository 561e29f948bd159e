import { afterEach, describe, expect, test, vi } from "vitest";
import {
  type AdapterOptions,
  type Invocation,
  locking,
  runUnder,
  settle,
  type Taken,
} from "../../src/adapters/run.ts";
import { type Lock, type LockEvent, LockLostError, LockOptionError } from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";

type Order = { id: string };
const order: Order = { id: "42" };

/** What every adapter does with an order. */
function adapter(options: Partial<AdapterOptions<[Order], string>> = {}) {
  const locker = memoryLocker();
  const { enter } = locking<[Order], string>({ locker, key: ({ id }) => `order:${id}`, ...options });
  const isFree = async (key = "order:42") => (await locker.tryAcquire(key))?.release() ?? false;
  const take = async (about: Invocation = {}) => (await enter([order], about)) as Taken;
  const handle = async (work: (lock: Lock) => unknown, about?: Invocation, results = {}) => {
    const taken = await take(about);
    const result = await runUnder(taken, work);
    const usual = { succeeded: () => true, hold: () => undefined, discard: () => {} };
    return settle(taken, result, { ...usual, ...results });
  };
  return { locker, isFree, take, handle };
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
    [
      "a function that threw",
      () => ({
        get key(): string {
          throw new Error("no such account");
        },
      }),
    ],
    ["undefined", async () => ({}) as string],
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

describe("a lock that was lost by the time its work returned", () => {
  /** An adapter, and work during which another ends the lock, and its holder asks for more time. */
  function losing(options = {}) {
    const { locker, handle } = adapter(options);
    const work = async (lock: Lock) => {
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

describe("a target that is known when the handler is wrapped", () => {
  test("is refused then, where its options do not fit it", () => {
    const wrap = (options: Partial<AdapterOptions<[Order], string>>) => () => adapter(options);
    expect(wrap({ key: { key: "k", limit: 2 }, fencing: true })).toThrow(/^fencing: got true/);
    expect(wrap({ key: ["k", { key: "l", mode: "shared" }], fencing: true })).toThrow(/^fencing: got true/);
    expect(wrap({ key: { key: "k", holdFor: "1m" }, renew: false })).toThrow(/^holdFor: got 60000/);
    expect(wrap({ key: { key: "k", holdFor: "5s" }, holdFor: "1m", renew: false })).not.toThrow();
    expect(wrap({ key: { key: "k", limit: 1 }, fencing: true })).not.toThrow();
  });
});

describe("a lock that is renewed only while its work gets on", () => {
  /** A lock of 300 ms, what happened to it, and the time its function has left. */
  async function paced(lifetime?: () => number) {
    const happened: string[] = [];
    const onEvent = ({ type }: LockEvent) => happened.push(type);
    const { take } = adapter({ ttl: 300, onEvent });
    const taken = await take({ lifetime });
    const extended = vi.spyOn(taken.lock, "extend");
    taken.pace();
    return { ...taken, happened, extended };
  }
  const lost = ({ signal }: Lock) =>
    new Promise<unknown>((resolve) => signal.addEventListener("abort", () => resolve(signal.reason)));

  test("is kept past many leases, until it does not any more", async () => {
    const { lock, progress, happened } = await paced();
    const going = setInterval(progress, 20);
    await vi.waitFor(() => expect(happened.filter((type) => type === "renewed")).toHaveLength(5), 5000);
    clearInterval(going);
    expect(lock.held).toBe(true);
    expect(await lost(lock)).toBeInstanceOf(LockLostError);
    // Too late.
    progress();
    expect(lock.held).toBe(false);
  });

  test("is renewed at once when it goes on after a renewal was left out, and from then on as before", async () => {
    const { lock, progress, happened, extended } = await paced();
    await vi.waitUntil(() => lock.remaining < 150);
    expect(happened).toEqual(["asked", "acquired"]);
    progress();
    progress();
    await vi.waitUntil(() => happened.includes("renewed"));
    expect(extended).toHaveBeenCalledTimes(1);
    const going = setInterval(progress, 20);
    await vi.waitUntil(() => happened.length > 3);
    clearInterval(going);
    expect(extended).toHaveBeenCalledTimes(1);
    await lock.release();
  });

  test("is so by a locker too that tells its events to somebody else", async () => {
    const inner = memoryLocker({ ttl: 300 });
    const locker = {
      ...inner,
      acquire: (key: string, options: object) => inner.acquire(key, { ...options, onEvent() {} }),
    };
    const { take } = adapter({ locker: locker as typeof inner });
    const { lock, pace, progress } = await take();
    pace();
    progress();
    expect(await lost(lock)).toBeInstanceOf(LockLostError);
  });

  test("is tried again with the next progress when that renewal failed", async () => {
    const { lock, progress, extended, happened } = await paced();
    await vi.waitUntil(() => lock.remaining < 150);
    extended.mockRejectedValueOnce(new Error("unreachable"));
    progress();
    await extended.mock.results[0]?.value.catch(() => {});
    await null;
    progress();
    await vi.waitUntil(() => happened.includes("renewed"));
    await lock.release();
  });

  test("is not renewed past the function's end", async () => {
    let left = 1000;
    const { lock, progress, happened } = await paced(() => left);
    await vi.waitUntil(() => lock.remaining < 150);
    left = 180;
    progress();
    await vi.waitUntil(() => happened.includes("renewed"));
    expect(lock.remaining).toBeLessThanOrEqual(180);
    await lock.release();
  });
});

describe("a deadline", () => {
  test("is the sooner one of the platform's and the `deadline` option", async () => {
    for (const [deadline, lifetime] of [
      [500, () => 60_000],
      [60_000, () => 500],
      [() => 60_000, () => 500],
    ] as const) {
      const { lock } = await adapter({ deadline }).take({ lifetime });
      expect(lock.remaining).toBeLessThanOrEqual(505);
    }
  });
});

describe("an explicit option", () => {
  test("wins over what the platform knows", async () => {
    const owners: unknown[] = [];
    const { handle, locker } = adapter({ owner: "nightly report" });
    const about = { owner: "function report" };
    await handle(
      async () => owners.push(await locker.acquire("order:42").catch(({ owner }) => owner)),
      about,
    );
    const { handle: unnamed, locker: same } = adapter();
    await unnamed(async () => owners.push(await same.acquire("order:42").catch(({ owner }) => owner)), about);
    expect(owners).toEqual(["nightly report", "function report"]);
  });
});
