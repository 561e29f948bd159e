// W3C's Web Locks API across machines.
import { list } from "../admin/index.ts";
import type { Lock, Locker, LockOptions } from "../api.ts";
import { withDoor } from "../door.ts";
import { LockUnavailableError } from "../errors.ts";
import { lossOf } from "../locker.ts";
import { shortOwner } from "../protocol/state.ts";
import { realRuntime, whenAborted } from "../runtime.ts";
import { createLine } from "./line.ts";
import { nameOf } from "./names.ts";
import { type Request, readRequest, unsupported } from "./request.ts";
import { giveUpSteal, steal } from "./steal.ts";

export type WebLockMode = "exclusive" | "shared";

/** A lock, as the callback of its request sees it. */
export interface WebLock {
  readonly name: string;
  readonly mode: WebLockMode;
}

/** As the standard's `LockOptions`. */
export interface WebLockOptions {
  /** `"shared"`: together with others that share it. @default "exclusive" */
  mode?: WebLockMode | undefined;
  /** Calls back with null if the lock is not free, instead of waiting. @default false */
  ifAvailable?: boolean | undefined;
  /** Takes the lock from its holders, whose requests reject with an `AbortError`. @default false */
  steal?: boolean | undefined;
  /** Ends the wait. Once the lock is granted, it changes nothing. @default none */
  signal?: AbortSignal | undefined;
}

export type WebLockCallback<T> = (lock: WebLock | null) => T;

/** A lock that is held, or a request that waits. */
export interface WebLockInfo {
  name: string;
  mode: WebLockMode;
  /** The same for all requests of one manager. Empty for another library's lock. */
  clientId: string;
}

export interface WebLockSnapshot {
  held: WebLockInfo[];
  /** Of each name, the next one first. */
  pending: WebLockInfo[];
}

/** As the standard's `LockManager`, which is `navigator.locks`. Its members need no `this`. */
export interface WebLockManager {
  /**
   * Takes the lock, calls back, and releases it once what the callback returned has settled. Waits up to 24 h.
   * @returns what the callback returned. Rejects with
   * - what the callback threw;
   * - `AbortError` when the lock was stolen or lost, or the signal's reason when that aborts the wait;
   * - `TypeError` or `NotSupportedError` for wrong arguments, as in a browser;
   * - `LockUnavailableError` when Redis could not be asked, `LockBusyError` after the longest wait
   */
  request<T>(name: string, callback: WebLockCallback<T>): Promise<Awaited<T>>;
  request<T>(name: string, options: WebLockOptions, callback: WebLockCallback<T>): Promise<Awaited<T>>;
  /**
   * The locks of the locker's prefix, whoever holds them or waits for them.
   * @throws LockUnavailableError
   */
  query(): Promise<WebLockSnapshot>;
}

/**
 * The Web Locks API on a locker: one lock for all machines.
 * @throws LockOptionError for a locker that was made by hand, without `run`
 *
 * @example
 * const locks = lockManager(createLocker());
 * await locks.request("report", async () => { … });
 */
export function lockManager(locker: Locker): WebLockManager {
  const { options } = withDoor(locker);
  // Who asks is told apart by its first letters, since a queue keeps no more than 28 bytes.
  const clientId = shortOwner([realRuntime.token().slice(0, 12), options.owner ?? []].flat().join("/"));
  const held = new Set<Lock>();
  const line = createLine();

  /** @param signal ends the wait */
  function lockOptions(signal: AbortSignal | undefined, placed: () => void): LockOptions {
    const own: LockOptions = {
      owner: clientId,
      wait: "24h",
      holdFor: 0,
      fencing: false,
      ifUnavailable: "throw",
    };
    if (options.renew === undefined) own.renew = true;
    if (signal) own.signal = options.signal ? AbortSignal.any([options.signal, signal]) : signal;
    own.onEvent = (event) => {
      if (event.type === "waiting") placed();
      return options.onEvent?.(event);
    };
    return own;
  }

  /** Null if it is not free, and is wanted only if it is. */
  function take({ key, mode, ifAvailable, steal }: Request, wanted: LockOptions): Promise<Lock | null> {
    if (steal) return takeFromHolders(key, wanted);
    const target = mode === "shared" ? { key, mode } : key;
    return ifAvailable ? locker.tryAcquire(target, { ...wanted, wait: 0 }) : locker.acquire(target, wanted);
  }

  async function takeFromHolders(key: string, wanted: LockOptions): Promise<Lock> {
    const { prefix, ttl } = options;
    const { owner: _, ...others } = wanted;
    for (;;) {
      const free = await locker.tryAcquire(key, { ...wanted, wait: 0 });
      if (free) return free;
      const token = realRuntime.token();
      const lock = locker.resume({ key, prefix, token, ttl, owner: clientId, fence: undefined }, others);
      try {
        const theft = await locker.run((door) => steal(door, key, token, clientId));
        if (theft === "foreign") throw unsupported("The lock is another library's");
        if (theft === "paused") return await locker.acquire(key, wanted);
        if (theft === "gone") continue;
        // The holders of this manager learn it at once, all others at their next renewal.
        for (const other of held) if (other.key === key) other.extend().catch(() => {});
        if (!(await lock.extend())) throw stolen(lock);
        return lock;
      } catch (error) {
        // It may have been stolen all the same, now or later.
        if (error instanceof LockUnavailableError) {
          await locker.run((door) => giveUpSteal(door, key, token)).catch(() => {});
          await lock.release().catch(() => {});
        }
        throw error;
      }
    }
  }

  async function request(...args: unknown[]): Promise<unknown> {
    const asked = readRequest(args);
    const { key, name, mode, signal, callback } = asked;
    // Once the lock is granted, the signal changes nothing.
    const waiting = new AbortController();
    const forget = whenAborted(signal, () => waiting.abort(signal?.reason));
    let lock: Lock | null;
    try {
      lock = await line.stand(key, mode === "shared", (placed) =>
        take(asked, lockOptions(signal && waiting.signal, placed)),
      );
    } finally {
      forget();
    }
    if (!lock) return callback(null);
    return work(lock, () => {
      signal?.throwIfAborted();
      return callback(Object.freeze({ name, mode }));
    });
  }

  async function work(lock: Lock, call: () => unknown): Promise<unknown> {
    held.add(lock);
    let forget = () => {};
    const lost = new Promise((_, reject) => {
      forget = whenAborted(lock.signal, () => {
        if (lossOf(lock)) reject(stolen(lock));
      });
    });
    try {
      const result = await Promise.race([lost, finished(call, lock)]);
      forget();
      // A release that cannot be asked for is an event: the lock ends with its lease.
      if (!(await lock.release().catch(() => true))) throw stolen(lock);
      return result;
    } catch (error) {
      forget();
      await lock.release().catch(() => {});
      throw error;
    } finally {
      held.delete(lock);
    }
  }

  /** Settles as the work does, once who comes next has a place: it asked before the lock is let go. */
  async function finished(call: () => unknown, { key }: Lock): Promise<unknown> {
    try {
      return await call();
    } finally {
      await line.nextPlaced(key);
    }
  }

  return {
    request,
    async query() {
      await line.allPlaced();
      const snapshot: WebLockSnapshot = { held: [], pending: [] };
      const seen = new Set<string>();
      let cursor: string | undefined;
      do {
        const page = await list(locker, { cursor, count: 1000 });
        for (const { key, holders, waiters } of page.locks) {
          const name = nameOf(key);
          if (name === undefined || seen.has(key)) continue;
          seen.add(key);
          const info = ({ mode, owner = "" }: (typeof holders | typeof waiters)[number]) =>
            mode === "permit" ? [] : [{ name, mode, clientId: shortOwner(owner) }];
          snapshot.held.push(...holders.flatMap(info));
          snapshot.pending.push(...waiters.flatMap(info));
        }
        cursor = page.cursor;
      } while (cursor);
      return snapshot;
    },
  } as WebLockManager;
}

function stolen(lock: Lock): DOMException {
  const error = new DOMException("The lock was stolen, or its lease ended", "AbortError");
  return Object.defineProperty(error, "cause", { value: lossOf(lock), configurable: true });
}
