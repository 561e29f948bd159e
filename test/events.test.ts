import { expect, test, vi } from "vitest";
import { release } from "../src/admin/index.ts";
import { LockBusyError, type LockEvent, type LockOptions, type Targets } from "../src/index.ts";
import { memoryLocker } from "../src/testing/index.ts";

function listen() {
  const events: LockEvent[] = [];
  return {
    events,
    onEvent: (event: LockEvent) => events.push(event),
    types: () => unrepeated(events),
  };
}

/** A waiter may be told of its place more than once. */
function unrepeated(events: LockEvent[]): string[] {
  const types = events.map(({ type }) => type);
  return types.filter((type, i) => type !== "waiting" || types[i - 1] !== "waiting");
}

test.each<[Targets, Partial<LockEvent>]>([
  ["a", { key: "a", keys: ["a"], mode: "exclusive", weight: 1 }],
  [
    { key: "a", mode: "shared" },
    { keys: ["a"], mode: "shared", weight: 1 },
  ],
  [
    { key: "a", limit: 5, weight: 3 },
    { keys: ["a"], mode: "permit", weight: 3 },
  ],
  [["a", "b"], { key: "a, b", keys: ["a", "b"], mode: "exclusive", weight: 2 }],
  [["a", { key: "b", limit: 3, weight: 2 }], { keys: ["a", "b"], mode: "mixed", weight: 3 }],
])("every event of %j says what is locked and how", async (target, said) => {
  const { events, onEvent, types } = listen();
  const lock = await memoryLocker({ onEvent, owner: "me" }).acquire(target);
  await lock.extend();
  await lock.release();
  expect(types()).toEqual(["asked", "acquired", "renewed", "released"]);
  for (const event of events) expect(event).toMatchObject({ ...said, owner: "me", id: events[0]?.id });
  expect(events.at(-1)).toMatchObject({ kept: false, remaining: expect.any(Number) });
});

test.each<[string, LockOptions, string[]]>([
  ["busy", {}, ["asked", "busy"]],
  ["busy after a wait", { wait: 20 }, ["asked", "waiting", "busy"]],
])("what is %s ends with busy", async (_, options, order) => {
  const locker = memoryLocker();
  const holder = await locker.acquire("a");
  const { onEvent, types } = listen();
  await locker.acquire("a", { ...options, onEvent }).catch(() => {});
  expect(types()).toEqual(order);
  await holder.release();
});

test("what is renewed while the rest of several locks is waited for is told of none: it is not acquired yet", async () => {
  const locker = memoryLocker();
  const holder = await locker.acquire("b");
  const { onEvent, types } = listen();
  const waiting = locker.acquire(["a", "b"], { ttl: 900, wait: "1m", onEvent });
  await expect.poll(types).toContain("waiting");
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(await locker.tryAcquire("a")).toBe(null);
  await holder.release();
  const lock = await waiting;
  await lock.release();
  expect(types().slice(0, 3)).toEqual(["asked", "waiting", "acquired"]);
  expect(types().at(-1)).toBe("released");
});

test("an acquire that its signal ends is aborted", async () => {
  const locker = memoryLocker();
  const holder = await locker.acquire("a");
  const { events, onEvent, types } = listen();
  const abort = new AbortController();
  const waiting = locker.acquire("a", { wait: "1m", signal: abort.signal, onEvent }).catch(() => {});
  await expect.poll(types).toContain("waiting");
  abort.abort();
  await waiting;
  expect(types()).toEqual(["asked", "waiting", "aborted"]);
  expect(events.at(-1)).toMatchObject({ took: expect.any(Number) });
  await holder.release();
});

test("an acquire whose signal is aborted already is aborted, and asks for nothing", async () => {
  const { onEvent, types } = listen();
  const locker = memoryLocker();
  const reason = new Error("too late");
  await expect(locker.acquire("a", { signal: AbortSignal.abort(reason), onEvent })).rejects.toBe(reason);
  expect(types()).toEqual(["asked", "aborted"]);
  const lock = await locker.acquire("a");
  await lock.release();
});

test("who waited in vain is told how long the holder's lease may last from then on", async () => {
  const locker = memoryLocker();
  const holder = await locker.acquire("a", { ttl: "10s" });
  const error = await locker.acquire("a", { wait: 400 }).catch((error) => error);
  expect(error).toBeInstanceOf(LockBusyError);
  expect(error.retryAfter).toBeGreaterThan(0);
  expect(error.retryAfter + error.waited).toBeLessThanOrEqual(10_001);
  await holder.release();
});

test("a lock that an operator ended is lost once", async () => {
  const { onEvent, types } = listen();
  const locker = memoryLocker({ onEvent });
  const lock = await locker.acquire("a");
  await release(locker, "a");
  await lock.extend();
  await lock.release();
  expect(types()).toEqual(["asked", "acquired", "lost"]);
});

test("only a lock that was not free has waited, whatever `wait` is", async () => {
  const { events, onEvent } = listen();
  const locker = memoryLocker({ wait: "5s", onEvent });
  const holder = await locker.acquire("a");
  const next = locker.acquire("a");
  await vi.waitFor(() => expect(events.at(-1)?.type).toBe("waiting"));
  await holder.release();
  await next;
  const acquired = events.filter((event) => event.type === "acquired");
  expect(acquired.map(({ waited }) => waited > 0)).toEqual([false, true]);
});

test("heldFor counts from acquire, also after a wait", async () => {
  const { events, onEvent } = listen();
  const locker = memoryLocker({ wait: "1m", onEvent });
  const holder = await locker.acquire("a", { onEvent: () => {} });
  const waiting = locker.acquire("a");
  await vi.waitFor(() => expect(events.at(-1)?.type).toBe("waiting"));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const since = performance.now();
  await holder.release();
  await (await waiting).release();
  const most = performance.now() - since;
  const [acquired, released] = events.slice(-2);
  expect(acquired).toMatchObject({ type: "acquired", granted: true });
  expect(released).toMatchObject({ type: "released" });
  expect((released as { heldFor: number }).heldFor).toBeLessThanOrEqual(most + 1);
});
