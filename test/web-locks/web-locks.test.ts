import { afterAll, beforeAll, describe, expect, type Mock, test, vi } from "vitest";
import { inspect, pause, unpause } from "../../src/admin/index.ts";
import {
  createLocker,
  type Locker,
  type LockerOptions,
  LockLostError,
  LockOptionError,
  LockUnavailableError,
} from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { lockManager, type WebLock, type WebLockManager } from "../../src/web-locks/index.ts";
import { type Backend, clients, engines, freshKey } from "../helpers/backends.ts";
import { memoryEngine } from "../helpers/memory-backend.ts";
import { until } from "../helpers/waiter.ts";

const [rest] = clients as [(typeof clients)[number]];
const places = [...engines.map((engine) => ({ ...engine, ...rest })), memoryEngine()];

/** Why a promise rejected. Fails where it did not. */
// biome-ignore lint/suspicious/noExplicitAny: what it is, is for the test to say
const failureOf = (promise: Promise<unknown>): Promise<any> =>
  promise.then(
    () => Promise.reject(new Error("it did not reject")),
    (error) => error,
  );

const renewalsOf = (onEvent: Mock) => onEvent.mock.calls.filter(([{ type }]) => type === "renewed").length;

describe.each(places)("lockManager on $engine", ({ missing, start, connect }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    let prefixes = 0;
    const lockerHere = (options: LockerOptions = {}) =>
      createLocker({ ...connect(backend.server), ...options });
    beforeAll(async () => {
      backend = await start();
    });
    afterAll(() => backend?.close());

    /** Two machines that see no other test's locks. */
    function machines(options: LockerOptions = {}) {
      const prefix = `web-${++prefixes}-${process.pid}:`;
      const lockers = [lockerHere({ prefix, ...options }), lockerHere({ prefix, ...options })] as const;
      const [here, there] = lockers.map((locker) => lockManager(locker)) as [WebLockManager, WebLockManager];
      return { here, there, lockers, locker: lockers[0] };
    }

    /** A request that holds its lock until it is told to end. */
    async function hold(locks: WebLockManager, name: string, mode: "exclusive" | "shared" = "exclusive") {
      const ends = Promise.withResolvers<unknown>();
      const begins = Promise.withResolvers<WebLock | null>();
      const done = locks.request(name, { mode }, (lock) => {
        begins.resolve(lock);
        return ends.promise;
      });
      done.catch(begins.reject);
      return { done, end: ends.resolve, lock: await begins.promise };
    }

    /** A request for a lock that is not free, once it waits. */
    async function wait(locks: WebLockManager, name: string, mode: "exclusive" | "shared", work = () => {}) {
      const done = locks.request(name, { mode }, work);
      await until(async () => (await locks.query()).pending.length > 0);
      return done;
    }

    describe("request", () => {
      test("calls back with the name and the mode, and resolves to what that returned", async () => {
        const { here } = machines();
        const seen: unknown[] = [];
        expect(await here.request("a", (lock) => seen.push(lock) && 5)).toBe(5);
        expect(await here.request("a", { mode: "shared" }, async (lock) => seen.push(lock) && 6)).toBe(6);
        expect(seen).toEqual([
          { name: "a", mode: "exclusive" },
          { name: "a", mode: "shared" },
        ]);
        expect(Object.isFrozen(seen[0])).toBe(true);
      });

      test("excludes another machine until what the callback returned has settled", async () => {
        const { here, there } = machines();
        const order: string[] = [];
        const holder = await hold(here, "a");
        const next = wait(there, "a", "exclusive", () => order.push("there"));
        await until(async () => (await there.query()).pending.length > 0);
        order.push("here ends");
        holder.end("done");
        expect(await holder.done).toBe("done");
        await next;
        expect(order).toEqual(["here ends", "there"]);
      });

      test.each([
        [
          "throws",
          () => {
            throw "mine";
          },
        ],
        ["rejects", async () => Promise.reject("mine")],
      ])("rejects with what a callback %s, and releases the lock", async (_, callback) => {
        const { here, there } = machines();
        expect(await failureOf(here.request("a", callback))).toBe("mine");
        expect(await there.request("a", { ifAvailable: true }, (lock) => lock?.name)).toBe("a");
      });

      test("has released the lock when it resolves", async () => {
        const { here, there } = machines();
        await here.request("a", () => {});
        expect(await there.request("a", { ifAvailable: true }, (lock) => lock !== null)).toBe(true);
      });

      test("lets shared locks in together, and an exclusive one alone", async () => {
        const { here, there } = machines();
        const [one, two] = [await hold(here, "a", "shared"), await hold(there, "a", "shared")];
        expect(await here.request("a", { ifAvailable: true }, (lock) => lock)).toBeNull();
        one.end(1);
        two.end(2);
        await Promise.all([one.done, two.done]);
        const alone = await hold(here, "a");
        const shared = { mode: "shared", ifAvailable: true } as const;
        expect(await there.request("a", shared, (lock) => lock)).toBeNull();
        alone.end(3);
        await alone.done;
      });

      test("grants in the order of the requests of one manager, also among names, but for who has to wait", async () => {
        const { here } = machines();
        const granted: number[] = [];
        const work = (n: number) => () => void granted.push(n);
        await Promise.all([
          here.request("a", { mode: "shared" }, work(1)),
          here.request("a", { mode: "shared" }, work(2)),
          here.request("b", work(3)),
          here.request("a", { mode: "shared" }, work(4)),
          here.request("b", work(5)),
          here.request("c", work(6)),
        ]);
        expect(granted).toEqual([1, 2, 3, 4, 6, 5]);
      });

      test("lets who was asked for while the lock was held have it next", async () => {
        const { here } = machines();
        const granted: string[] = [];
        let inner: Promise<unknown> | undefined;
        await here.request("a", () => {
          inner = Promise.all([
            here.request("a", () => granted.push("a")),
            here.request("b", () => granted.push("b")),
          ]);
        });
        await inner;
        expect(granted).toEqual(["b", "a"]);
      });

      test("lets all readers in when the writer before them is done, and the writer behind them after", async () => {
        const { here } = machines();
        const writer = await hold(here, "a");
        const readers = Array.from({ length: 5 }, () => hold(here, "a", "shared"));
        const last = hold(here, "a");
        await until(async () => (await here.query()).pending.length === 6);
        writer.end(0);
        await writer.done;
        const { held, pending } = await here.query();
        expect(held.map(({ mode }) => mode)).toEqual(Array(5).fill("shared"));
        expect(pending).toHaveLength(1);
        for (const reader of await Promise.all(readers)) reader.end(1);
        (await last).end(2);
        await (await last).done;
      });

      test("keeps the lock longer than its lease, whatever the locker waits or keeps it for", async () => {
        const onEvent = vi.fn();
        const { here, there } = machines({ ttl: 900, wait: 0, holdFor: "1h", fencing: true, onEvent });
        const holder = await hold(here, "a", "shared");
        // Each renewal comes after a third of the lease.
        await until(() => renewalsOf(onEvent) >= 4);
        expect(await there.request("a", { ifAvailable: true }, (lock) => lock)).toBeNull();
        holder.end(0);
        await holder.done;
        expect(await there.request("a", { ifAvailable: true }, (lock) => lock !== null)).toBe(true);
      });

      test("is the lock of the locker's own methods", async () => {
        const { here, locker } = machines();
        await using _ = await locker.acquire("order:42");
        expect(await here.request("order:42", { ifAvailable: true }, (lock) => lock)).toBeNull();
      });

      test.each(["", "abc\0def", "\ud800", "\udc00\ud800", "\uffff", "a:undefined"])(
        "takes the name %j as it is",
        async (name) => {
          const { here } = machines();
          await here.request(name, async (lock) => {
            expect(lock?.name).toBe(name);
            expect((await here.query()).held).toMatchObject([{ name }]);
            // Not what half a surrogate pair would become.
            expect(await here.request("\ufffd", { ifAvailable: true }, (other) => other !== null)).toBe(true);
          });
        },
      );

      test("tells the locker's own listener of all events", async () => {
        const onEvent = vi.fn();
        const { here } = machines({ onEvent });
        await here.request("a", () => {});
        const types = onEvent.mock.calls.map(([{ type }]) => type);
        expect(types).toEqual(["asked", "acquired", "released"]);
      });

      test("is not disturbed by a listener that rejects", async () => {
        const { here } = machines({ onEvent: () => Promise.reject(new Error("the listener is down")) });
        expect(await here.request("a", () => "done")).toBe("done");
      });
    });

    describe("ifAvailable", () => {
      test("calls back with null when the lock is held, and with what that returns or throws it settles", async () => {
        const { here, there } = machines();
        const holder = await hold(here, "a");
        for (const locks of [here, there]) {
          expect(await locks.request("a", { ifAvailable: true }, (lock) => [lock, 1])).toEqual([null, 1]);
          const thrown = { name: "mine" };
          const failing = locks.request("a", { ifAvailable: true }, () => {
            throw thrown;
          });
          expect(await failureOf(failing)).toBe(thrown);
        }
        holder.end(0);
        await holder.done;
      });

      test("looks past the locks of other names", async () => {
        const { here } = machines();
        const holder = await hold(here, "a");
        expect(await here.request("b", { ifAvailable: true }, (lock) => lock?.name)).toBe("b");
        holder.end(0);
        await holder.done;
      });
    });

    describe("signal", () => {
      test.each([
        ["its own reason", "my reason"],
        ["an AbortError", undefined],
      ])("ends the wait with %s, and the next in line gets the lock", async (_, reason) => {
        const { here } = machines();
        const holder = await hold(here, "a");
        const controller = new AbortController();
        const work = vi.fn();
        const waiting = failureOf(here.request("a", { signal: controller.signal }, work));
        const next = here.request("a", () => "next");
        await until(async () => (await here.query()).pending.length === 2);
        controller.abort(reason);
        expect(await waiting).toBe(controller.signal.reason);
        holder.end(0);
        expect(await next).toBe("next");
        expect(work).not.toHaveBeenCalled();
      });

      test("that aborts at once keeps a free lock from being granted, and leaves it free", async () => {
        const { here } = machines();
        const controller = new AbortController();
        const work = vi.fn();
        const asked = failureOf(here.request("a", { signal: controller.signal }, work));
        controller.abort();
        expect(await asked).toMatchObject({ name: "AbortError" });
        expect(await here.request("a", () => "free")).toBe("free");
        expect(work).not.toHaveBeenCalled();
      });

      test("that has aborted before sends nothing", async () => {
        const { here } = machines();
        const signal = AbortSignal.abort("before");
        expect(await failureOf(here.request("a", { signal }, () => {}))).toBe("before");
      });

      test("changes nothing once the lock is granted", async () => {
        const onEvent = vi.fn();
        const { here } = machines({ ttl: 900, onEvent });
        const controller = new AbortController();
        const begins = Promise.withResolvers<void>();
        const ends = Promise.withResolvers<string>();
        const done = here.request("a", { signal: controller.signal }, () => {
          begins.resolve();
          return ends.promise;
        });
        await begins.promise;
        controller.abort();
        // It is renewed all the same.
        await until(() => renewalsOf(onEvent) >= 1);
        ends.resolve("done");
        expect(await done).toBe("done");
      });
    });

    describe("steal", () => {
      test("takes a free lock", async () => {
        const { here } = machines();
        expect(await here.request("a", { steal: true }, (lock) => lock)).toEqual({
          name: "a",
          mode: "exclusive",
        });
      });

      test("breaks the request of the same manager with an AbortError, and waits for no callback", async () => {
        const { here } = machines({ ttl: "1h" });
        const holder = await hold(here, "a");
        const broken = failureOf(holder.done);
        expect(await here.request("a", { steal: true }, () => "mine")).toBe("mine");
        const error = await broken;
        expect(error).toMatchObject({ name: "AbortError" });
        expect(error).toBeInstanceOf(DOMException);
        expect(error.cause).toBeInstanceOf(LockLostError);
      });

      test.each(["exclusive", "shared"] as const)(
        "breaks the %s lock of another machine at its next renewal",
        async (mode) => {
          const { here, there } = machines({ ttl: 900 });
          const holder = await hold(here, "a", mode);
          const broken = failureOf(holder.done);
          const thief = await holdStolen(there, "a");
          expect(await broken).toMatchObject({ name: "AbortError" });
          // What the old holder did at its end does not touch the thief's lock.
          expect(await here.request("a", { ifAvailable: true }, (lock) => lock)).toBeNull();
          thief.end("mine");
          expect(await thief.done).toBe("mine");
        },
      );

      test("rejects a request whose callback ended in time, but after the lock was stolen", async () => {
        const { here, there } = machines({ ttl: "1h" });
        const holder = await hold(here, "a");
        await there.request("a", { steal: true }, () => {});
        holder.end("done");
        expect(await failureOf(holder.done)).toMatchObject({ name: "AbortError" });
      });

      test("goes before those that wait, who keep their places", async () => {
        const { here, there } = machines({ ttl: "1m" });
        const holder = await hold(here, "a");
        holder.done.catch(() => {});
        const order: string[] = [];
        const first = here.request("a", () => order.push("first"));
        const second = here.request("a", () => order.push("second"));
        await until(async () => (await there.query()).pending.length === 2);
        await there.request("a", { steal: true }, async () => {
          expect((await there.query()).pending).toHaveLength(2);
          order.push("thief");
        });
        await Promise.all([first, second]);
        expect(order).toEqual(["thief", "first", "second"]);
      });

      test("is won by who comes last", async () => {
        const { here, there } = machines({ ttl: "1h" });
        const first = await holdStolen(here, "a");
        const broken = failureOf(first.done);
        expect(await here.request("a", { steal: true }, () => "last")).toBe("last");
        expect(await broken).toMatchObject({ name: "AbortError" });
        expect(await there.request("a", { ifAvailable: true }, (lock) => lock !== null)).toBe(true);
      });

      test("leaves another library's lock alone", async () => {
        const { here, locker } = machines();
        const { prefix } = locker.options;
        await backend.raw.set(`${prefix}{a}`, "another's", "PX", 60_000, "NX");
        const error = await failureOf(here.request("a", { steal: true }, () => {}));
        expect(error).toMatchObject({ name: "NotSupportedError" });
        expect(await backend.raw.get(`${prefix}{a}`)).toBe("another's");
      });

      test("waits while an operator lets nobody in", async () => {
        const { here, there, locker } = machines({ ttl: "1h" });
        const holder = await hold(here, "a");
        await pause(locker, "a");
        const thief = there.request("a", { steal: true }, () => "mine");
        await until(async () => (await inspect(locker, "a")).waiters.length === 1);
        holder.end("done");
        expect(await holder.done).toBe("done");
        await unpause(locker, "a");
        expect(await thief).toBe("mine");
      });
    });

    describe("query", () => {
      test("is empty where there are no locks", async () => {
        expect(await machines().here.query()).toEqual({ held: [], pending: [] });
      });

      test("shows what all machines hold and wait for, and who they are", async () => {
        const { here, there } = machines();
        const holders = [
          await hold(here, "a"),
          await hold(there, "b", "shared"),
          await hold(here, "b", "shared"),
        ];
        const waiting = [there.request("a", { mode: "shared" }, () => {}), there.request("a", () => {})];
        const { held, pending } = await there.query();
        const clientOf = (name: string) =>
          held.filter((each) => each.name === name).map((each) => each.clientId);
        expect(held.map(({ name, mode }) => `${name} ${mode}`).sort()).toEqual([
          "a exclusive",
          "b shared",
          "b shared",
        ]);
        expect(pending.map(({ name, mode }) => `${name} ${mode}`)).toEqual(["a shared", "a exclusive"]);
        const [mine] = clientOf("a");
        expect(clientOf("b")).toHaveLength(2);
        expect(clientOf("b").filter((each) => each !== mine)).toEqual([pending[0]?.clientId]);
        for (const holder of holders) holder.end(0);
        await Promise.all([...waiting, ...holders.map(({ done }) => done)]);
      });

      test("gives one client one id, whatever its owner is and whether others wait", async () => {
        const { here } = machines({ owner: "größte Halle der Königin 🔒🔒🔒🔒🔒" });
        const [a, b] = [await hold(here, "a"), await hold(here, "b")];
        const waiting = here.request("b", () => {});
        const { held, pending } = await here.query();
        expect(new Set([...held, ...pending].map(({ clientId }) => clientId)).size).toBe(1);
        for (const holder of [a, b]) holder.end(0);
        await Promise.all([a.done, b.done, waiting]);
      });

      test("leaves out permits, and keys that are no web lock's", async () => {
        const { here, locker } = machines();
        await using _permit = await locker.acquire({ key: "openai", limit: 5 });
        await using _odd = await locker.acquire("-foo");
        await using _lock = await locker.acquire("a");
        expect((await here.query()).held).toMatchObject([{ name: "a", mode: "exclusive" }]);
      });

      test("reads more locks than one page has", async () => {
        const { here, locker } = machines();
        const names = Array.from({ length: 1_200 }, (_, i) => `many-${i}`);
        const { prefix } = locker.options;
        const value = `s2:${"0".repeat(32)}:60000:1:`;
        await Promise.all(
          names.map((name) => backend.raw.set(`${prefix}{${name}}`, value, "PX", 60_000, "NX")),
        );
        const { held } = await here.query();
        expect(held.map(({ name }) => name).sort()).toEqual(names.sort());
      });
    });

    /** As `hold`, by stealing. */
    async function holdStolen(locks: WebLockManager, name: string) {
      const ends = Promise.withResolvers<unknown>();
      const begins = Promise.withResolvers<void>();
      const done = locks.request(name, { steal: true }, () => {
        begins.resolve();
        return ends.promise;
      });
      done.catch(begins.reject);
      await begins.promise;
      return { done, end: ends.resolve };
    }
  });
});

describe("request refuses as a browser does", () => {
  const { request } = lockManager(memoryLocker()) as unknown as {
    request(...args: unknown[]): Promise<unknown>;
  };
  const work = () => {};
  const { signal } = new AbortController();

  test.each([
    ["nothing", []],
    ["a name alone", ["a"]],
    ["no function", ["a", undefined]],
    ["null for the callback", ["a", null]],
    ["a number for the callback", ["a", 123]],
    ["a promise for the callback", ["a", Promise.resolve()]],
    ["options alone", ["a", {}]],
    ["options and no function", ["a", {}, "b"]],
    ["a symbol for the name", [Symbol("a"), work]],
    ["a text for the options", ["a", "shared", work]],
    ["an unknown mode", ["a", { mode: "foo" }, work]],
    ["null for the mode", ["a", { mode: null }, work]],
    ["a text for the signal", ["a", { signal: "now" }, work]],
    ["null for the signal", ["a", { signal: null }, work]],
    ["an object for the signal", ["a", { signal: {} }, work]],
  ])("%s, with a TypeError", async (_, args) => {
    expect(await failureOf(request(...args))).toBeInstanceOf(TypeError);
  });

  test.each([
    ['the name "-"', ["-", work]],
    ['a name that begins with "-"', ["-foo", work]],
    ["steal with ifAvailable", ["a", { steal: true, ifAvailable: true }, work]],
    ["steal of a shared lock", ["a", { steal: true, mode: "shared" }, work]],
    ["a signal with steal", ["a", { steal: true, signal }, work]],
    ["a signal with ifAvailable", ["a", { ifAvailable: true, signal }, work]],
  ])("%s, with a NotSupportedError", async (_, args) => {
    const error = await failureOf(request(...args));
    expect(error).toBeInstanceOf(DOMException);
    expect(error.name).toBe("NotSupportedError");
  });

  test("takes a missing, undefined or null dictionary for none, and any value for a flag", async () => {
    for (const options of [
      undefined,
      null,
      {},
      { ifAvailable: 1, steal: 0, mode: undefined, signal: undefined },
    ])
      expect(await request("a", options, (lock: WebLock) => lock.mode)).toBe("exclusive");
  });

  test("takes a name for its text", async () => {
    expect(await request(5, (lock: WebLock) => lock.name)).toBe("5");
  });
});

describe("lockManager", () => {
  test("refuses a locker that was made by hand, without run", () => {
    const { run: _, ...locker } = memoryLocker();
    expect(() => lockManager(locker as unknown as Locker)).toThrow(LockOptionError);
    expect(() => lockManager(undefined as unknown as Locker)).toThrow(LockOptionError);
  });

  test("asks a decorated locker", async () => {
    const locker = memoryLocker();
    const acquire = vi.fn(locker.acquire);
    await lockManager({ ...locker, acquire }).request("a", () => {});
    expect(acquire).toHaveBeenCalledOnce();
  });

  test("has members that need no this", async () => {
    const { request, query } = lockManager(memoryLocker());
    const seen = await request("a", async () => (await query()).held);
    expect(seen).toMatchObject([{ name: "a" }]);
  });

  test("fits where the browser's own is expected", () => {
    const locks: Pick<WebLockManager, "request" | "query"> = lockManager(memoryLocker());
    expect(Object.keys(locks)).toEqual(["request", "query"]);
  });

  test.each([{}, { ifAvailable: true }, { steal: true }])(
    "never calls back when Redis cannot be asked: %j",
    async (options) => {
      const locker = memoryLocker({ ifUnavailable: "proceed" });
      locker.fail("unavailable");
      const work = vi.fn();
      const failure = await failureOf(lockManager(locker).request(freshKey(), options, work));
      expect(failure).toBeInstanceOf(LockUnavailableError);
      expect(work).not.toHaveBeenCalled();
      await expect(lockManager(locker).query()).rejects.toBeInstanceOf(LockUnavailableError);
    },
  );

  test("rejects with an AbortError when the lock is lost", async () => {
    const locker = memoryLocker({ ttl: 300 });
    const asked = lockManager(locker).request("a", () => {
      locker.fail("lost");
      return new Promise(() => {});
    });
    expect(await failureOf(asked)).toMatchObject({ name: "AbortError" });
  });
});
