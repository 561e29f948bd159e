import middy from "@middy/core";
import { Hono } from "hono";
import { describe, expect, test, vi } from "vitest";
import {
  lockQueue,
  lockScheduled,
  type WorkerMessage,
  lockFetch as workerFetch,
} from "../../src/adapters/cloudflare.ts";
import { lockFetch } from "../../src/adapters/fetch.ts";
import { lock as honoLock } from "../../src/adapters/hono.ts";
import { lockHandler, lockRecords } from "../../src/adapters/lambda.ts";
import lockMiddleware from "../../src/adapters/middy.ts";
import type { LockSource } from "../../src/adapters/run.ts";
import {
  type Lock,
  LockBusyError,
  type Locker,
  LockLostError,
  LockUnavailableError,
} from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { lambda } from "../helpers/lambda.ts";

type Work = (lock: Lock) => unknown;
/** How a call ended, as its caller sees it. */
type Outcome = "done" | "failed";
interface Options {
  key: string;
  locker: LockSource;
  onError: (error: unknown) => unknown;
}

const request = () => new Request("http://shop/orders/42");
const ctx = { waitUntil: () => {} };
const settledAs = (call: Promise<unknown>): Promise<Outcome> =>
  call.then(
    () => "done",
    () => "failed",
  );
/** The lock is held to the end of the body, which fails where that is lost. */
const answeredAs = async (call: Response | Promise<Response>): Promise<Outcome> => {
  try {
    const response = await call;
    await response.text();
    return response.ok ? "done" : "failed";
  } catch {
    return "failed";
  }
};

/** Each adapter, called once. */
const adapters: { adapter: string; call(options: never, work: Work): Promise<Outcome> }[] = [
  {
    adapter: "middy",
    call(options: Options, work) {
      const handler = middy()
        .use(lockMiddleware(options))
        .handler((_, { lock }) => work(lock));
      return settledAs(handler({}, lambda() as never));
    },
  },
  {
    adapter: "lockHandler",
    call: (options: Options, work) =>
      settledAs(lockHandler(options, async (_, { lock }) => work(lock))({}, lambda())),
  },
  {
    adapter: "lockRecords",
    async call(options: Options, work) {
      const handler = lockRecords(options, ({ lock }) => work(lock));
      const { batchItemFailures } = await handler({ Records: [{ messageId: "1" }] }, lambda());
      return batchItemFailures.length ? "failed" : "done";
    },
  },
  {
    adapter: "lockFetch",
    call: (options: Options, work) =>
      answeredAs(lockFetch(options, async ({ lock }) => Response.json(`${await work(lock)}`))(request())),
  },
  {
    adapter: "hono",
    call(options: Options, work) {
      const app = new Hono().get("/orders/:id", honoLock(options), async (c) =>
        c.text(`${await work(c.var.lock)}`),
      );
      app.onError((_, c) => c.text("failed", 500));
      return answeredAs(app.request(request()));
    },
  },
  {
    adapter: "a Worker's fetch",
    call(options: Options, work) {
      const handler = workerFetch(options, async ({ lock }) => Response.json(`${await work(lock)}`));
      return answeredAs(handler(request(), {}, { waitUntil: (left: Promise<unknown>) => void left }));
    },
  },
  {
    adapter: "a Worker's scheduled",
    call: (options: Options, work) =>
      settledAs(
        lockScheduled(options, ({ lock }) => work(lock))({ scheduledTime: 1, cron: "* * * * *" }, {}, ctx),
      ),
  },
  {
    adapter: "a Worker's queue",
    async call(options: Options, work) {
      const message = { id: "1", ack: vi.fn(), retry: vi.fn() };
      await lockQueue<WorkerMessage, object>(options, ({ lock }) => work(lock))(
        { queue: "orders", messages: [message] },
        {},
        ctx,
      );
      return message.ack.mock.calls.length ? "done" : "failed";
    },
  },
];

const key = "order";
const isFree = async (locker: Locker, of = key) => (await locker.tryAcquire(of))?.release() ?? false;

/** A locker by hand: one that knows nothing of leases. `release` can be told what to answer. */
function mapLocker(answer: () => boolean | Promise<boolean> = () => true) {
  const locks = new Map<string, Lock>();
  const released: unknown[] = [];
  const locker: LockSource = {
    async acquire(key: string, { owner } = {}) {
      if (locks.has(key)) throw new LockBusyError(key, { owner: locks.get(key)?.owner });
      const stop = new AbortController();
      const lock = {
        key,
        owner,
        held: true,
        remaining: Infinity,
        signal: stop.signal,
        extend: async () => locks.get(key) === lock,
        async release(options?: object) {
          released.push(options);
          locks.delete(key);
          return answer();
        },
      } as Partial<Lock> as Lock;
      locks.set(key, lock);
      return lock;
    },
  };
  return { locker, locks, released };
}

describe.each(adapters)("$adapter takes its lock from", ({ call }) => {
  const told: unknown[] = [];
  const run = (locker: LockSource, work: Work, more: object = {}) =>
    call({ key, locker, onError: (error: unknown) => told.push(error), ...more } as never, work);

  test("a locker that is spied on, whose refusal it passes on", async () => {
    const locker = memoryLocker();
    const acquire = vi.spyOn(locker, "acquire").mockRejectedValue(new LockBusyError(key, {}));
    const work = vi.fn();
    expect(await run(locker, work)).toBe("failed");
    expect(acquire).toHaveBeenCalledExactlyOnceWith(key, expect.objectContaining({ renew: true }));
    expect(work).not.toHaveBeenCalled();
    acquire.mockRestore();
    expect(await run(locker, work)).toBe("done");
  });

  test("a decorated one, whose own options count where the adapter was given none", async () => {
    const inner = memoryLocker();
    const seen: unknown[] = [];
    const locker: Locker = {
      ...inner,
      acquire: (key, options) => inner.acquire(`tenant:${key}`, { ttl: "1m", prefix: "p:", ...options }),
    };
    const work: Work = async (lock) => {
      seen.push(lock.key, lock.remaining > 20_000, await isFree(inner, "tenant:order"));
      seen.push(lock.toJSON().prefix);
      return "done";
    };
    expect(await run(locker, work)).toBe("done");
    expect(seen).toEqual(["tenant:order", expect.anything(), true, "p:"]);
  });

  test("a spread one, with its defaults", async () => {
    const inner = memoryLocker({ owner: "the till" });
    const acquire = vi.fn(inner.acquire);
    const seen: unknown[] = [];
    const work: Work = async (lock) => seen.push(lock.owner, await isFree(inner));
    expect(await run({ ...inner, acquire }, work)).toBe("done");
    expect(seen).toEqual(["the till", false]);
    expect(acquire).toHaveBeenCalledTimes(1);
    await vi.waitFor(async () => expect(await isFree(inner)).toBe(true));
  });

  test("one made by hand, and says whether the work failed when it releases", async () => {
    const { locker, locks, released } = mapLocker();
    const seen: unknown[] = [];
    const nested: Work = async () => seen.push(locks.size, await run(locker, () => seen.push("never")));
    expect(await run(locker, nested)).toBe("done");
    expect(seen).toEqual([1, "failed"]);
    await run(locker, () => Promise.reject(new Error("declined")));
    expect(locks.size).toBe(0);
    expect(released).toEqual([{ failed: false }, { failed: true }]);
  });

  test("one whose release finds the lock gone: that is a loss", async () => {
    const { locker } = mapLocker(() => false);
    told.length = 0;
    const outcome = await run(locker, () => "done");
    // Where the release comes after the answer, `onError` is told.
    expect(outcome === "failed" || told[0] instanceof LockLostError).toBe(true);
    expect(await run(locker, () => "done", { onLost: "ignore" })).toBe("done");
  });

  test("one that cannot keep a lock for `holdFor`: that is an error, and without `holdFor` none", async () => {
    const unavailable = new LockUnavailableError(key, new Error("unreachable"));
    const { locker } = mapLocker(() => Promise.reject(unavailable));
    told.length = 0;
    const outcome = await run(locker, () => "done", { holdFor: "1h" });
    expect(outcome === "failed" || told[0] === unavailable).toBe(true);
    told.length = 0;
    expect(await run(locker, () => "done")).toBe("done");
    expect(told).toEqual([]);
  });

  test.each([
    ["nothing", undefined],
    ["no signal", { key, release: async () => true }],
    ["no release", { key, signal: new AbortController().signal }],
  ])("none whose `acquire` gives %s: the work does not run, and the error says so", async (_, given) => {
    const told: unknown[] = [];
    const work = vi.fn();
    const locker = { acquire: async () => given as never };
    const message = await call({ key, locker, onError: (error: unknown) => told.push(error) } as never, work);
    expect([message, work.mock.calls]).toEqual(["failed", []]);
    for (const error of told) expect(error).toMatchObject({ code: "LOCK_OPTION", option: "locker" });
  });

  test("one that runs the work without a lock, which is no loss, and tells why", async () => {
    const inner = memoryLocker();
    const cause = new LockUnavailableError(key, new Error("unreachable"));
    const { locker } = mapLocker(() => false);
    const unheld: LockSource = {
      async acquire(key: string, options) {
        const about = { id: "1", key, keys: [key], mode: "exclusive", weight: 1, owner: undefined } as const;
        const event = { ...about, step: "acquire", took: 0 } as const;
        options?.onEvent?.({ ...event, type: "unavailable", error: cause });
        return Object.defineProperty(await locker.acquire(key), "held", { value: false });
      },
      options: inner.options,
    };
    told.length = 0;
    const events: unknown[] = [];
    const onEvent = ({ type }: { type: string }) => events.push(type);
    expect(await run(unheld, (lock) => (lock.held ? "held" : "done"), { onEvent })).toBe("done");
    expect(told.slice(0, 1)).toEqual([cause]);
    expect(events).toEqual(["unavailable"]);
  });
});
