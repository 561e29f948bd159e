// The words of the API: no code.
import type { Command } from "./redis/client.ts";
import type { Connection } from "./redis/connection.ts";
import type { UpstashRedis } from "./redis/upstash.ts";

/** Milliseconds, or text such as "500ms", "10s", "10 s", "5m", "1h", "1d" (as `@upstash/ratelimit` writes it). */
export type Duration = number | `${number}${Unit}` | `${number} ${Unit}`;
type Unit = "ms" | "s" | "m" | "h" | "d";

/**
 * What is locked: a key, or a key with how it is locked. All of one key stand in one queue.
 *
 * @example
 * "order:42" // one holder
 * { key: "openai", limit: 5 } // one of five permits; with `weight: 2`, two of them
 * { key: "report", mode: "shared" } // together with other readers, but not with an exclusive holder
 */
export type Target =
  | string
  | {
      /** Up to 1024 characters. */
      key: string;
      /** `"shared"`: together with others that share it. Not with `limit`. @default "exclusive" */
      mode?: "exclusive" | "shared" | undefined;
      /** How many permits there are, 1 to 100,000. It counts for this caller's own admission. */
      limit?: number | undefined;
      /** How many of them to take, 1 to `limit`. @default 1 */
      weight?: number | undefined;
      /** In place of the `holdFor` option. */
      holdFor?: Duration | undefined;
    };

/** One target, or 1 to 16 of them with different keys: all are taken, or none. */
export type Targets = Target | readonly Target[];

/** Where Redis is, and the defaults of every call. */
export interface LockerOptions extends LockOptions {
  /** Of Upstash's REST API. @default UPSTASH_REDIS_REST_URL, or KV_REST_API_URL, read when the first lock is taken */
  url?: string | undefined;
  /** Of Upstash's REST API. @default UPSTASH_REDIS_REST_TOKEN, or KV_REST_API_TOKEN */
  token?: string | undefined;
  /** A `Redis` of `@upstash/redis` (any platform's build), instead of `url` and `token`. */
  redis?: UpstashRedis | undefined;
}

export type Work<T> = (lock: Lock) => T | Promise<T>;

/**
 * Takes locks. Keeps no connection and no state of any lock: one for a whole module is right. Its members need no
 * `this`: `{ ...locker, acquire }` is a locker, too.
 */
export interface Locker {
  /** The defaults of every call, checked. Frozen. */
  readonly options: LockSettings;
  /**
   * Takes the lock; release it in a `finally`, or declare it with `await using`.
   * @throws LockBusyError when another holds it, after `wait`
   * @throws LockUnavailableError when Redis could not be asked, or too few `replicas` confirmed it
   * @throws LockOptionError before any request
   */
  acquire(key: Targets, options?: LockOptions): Promise<Lock>;
  /** As `acquire`, but null when another holds the lock. Still throws when Redis could not be asked. */
  tryAcquire(key: Targets, options?: LockOptions): Promise<Lock | null>;
  /**
   * Runs the work under the lock, renews it meanwhile, and releases it. An error of the work wins over all
   * others. A release that cannot be asked for is an event, no error: the work was done under the lock.
   * @throws LockLostError once the work has settled, if the lock was lost meanwhile
   * @throws LockUnavailableError once the work has settled, if the lock could not be kept for `holdFor`
   */
  withLock<T>(key: Targets, work: Work<T>): Promise<T>;
  withLock<T>(key: Targets, options: WithLockOptions, work: Work<T>): Promise<T>;
  /**
   * A lock taken elsewhere, from its handle. Whether it is still ours is not known before `extend` or
   * `release` has asked: until then `held` is false.
   */
  resume(handle: LockHandle | string, options?: LockOptions): Lock;
  /**
   * The door of what is built on a locker: other entries of this package, and tools. Runs the operation with the
   * locker's settings and its way to Redis.
   */
  run<T>(operation: (door: Door) => T): T;
}

/** A locker's settings and its way to Redis. docs/protocol.md says what is there. */
export interface Door {
  readonly settings: LockSettings;
  /** With time limits and repetitions. */
  readonly connection: Connection;
  /** Where a lock is in Redis. */
  redisKey(key: string): string;
  /**
   * Sends one command, which must be idempotent: it is sent again when there is no reply.
   * @param key what the error names
   * @throws LockUnavailableError
   */
  ask(key: string, command: Command): Promise<unknown>;
}

/** Options of `createLocker` (as defaults) and of each call (as overrides). `undefined` means the default. */
export interface LockOptions {
  /** The lease: how long the lock outlives a holder that died. 10 ms to 24 h. @default "10s" */
  ttl?: Duration | undefined;
  /** How long to wait while another holds the lock. 0 to 24 h. @default 0 */
  wait?: Duration | undefined;
  /**
   * Keep the lease alive while held. A duration bounds it: from acquire on, the lock is kept no longer, 10 ms to 31
   * days. Renewal also ends when `signal` aborts. @default true in `withLock` and the adapters, false in `acquire`
   */
  renew?: boolean | Duration | undefined;
  /**
   * Keep the lock this long after a success, counted from acquire. 0 to 31 days. A lock that cannot be kept is an
   * error, although the work succeeded. @default 0
   */
  holdFor?: Duration | undefined;
  /** Ends the wait, the acquire and the `lock.signal` of the work. */
  signal?: AbortSignal | undefined;
  /** A short text shown to whoever finds the lock busy, up to 200 characters. */
  owner?: string | undefined;
  /** Also draw a fencing token: `lock.fence`. Costs a script instead of a plain command. @default false */
  fencing?: boolean | undefined;
  /**
   * How many replicas have to confirm, by `WAIT`, that they have the lock: when it is taken, at each new lease, and when it
   * or a result is kept. 0 to 100. Too few within half of `requestTimeout`: it is released, and unavailable.
   * docs/replicas.md says what it costs. @default 0
   */
  replicas?: number | undefined;
  /** `"proceed"` runs without the lock when Redis cannot be asked: `lock.held` is false then. @default "throw" */
  ifUnavailable?: "throw" | "proceed" | undefined;
  /** In front of every key, up to 200 characters. @default "lock:" */
  prefix?: string | undefined;
  /** One HTTP request's limit, 10 ms to 60 s. A request and its repetitions together get twice that. @default "2s" */
  requestTimeout?: Duration | undefined;
  /**
   * Milliseconds the caller may still run, from the call on or whenever the function is asked. Lease, wait and requests
   * end before it, and no lease is renewed past it. A function that gives undefined, or throws, sets no limit.
   * @default none
   */
  deadline?: number | (() => number) | undefined;
  /**
   * Lets clean-up go on that nobody waits for, as a platform's `waitUntil` does. Without it, a platform may stop what is
   * left once there is an answer. What it throws changes nothing. @default none
   */
  waitUntil?: ((work: Promise<unknown>) => unknown) | undefined;
  /** Told of every event. @default none */
  onEvent?: ((event: LockEvent) => void) | undefined;
}

/** What `withLock` takes beside `LockOptions`. */
export interface WithLockOptions extends LockOptions {
  /** `"ignore"` hands over the work's result although the lock was lost meanwhile. @default "throw" */
  onLost?: "throw" | "ignore" | undefined;
}

/** A locker's options as `locker.options` shows them: checked, durations in ms, defaults filled in. */
export type LockSettings = Readonly<Settings>;

export interface Settings {
  ttl: number;
  wait: number;
  /** Ms from acquire: Infinity for `true`. Undefined where nobody chose. */
  renew: number | false | undefined;
  holdFor: number;
  signal: AbortSignal | undefined;
  owner: string | undefined;
  fencing: boolean;
  replicas: number;
  ifUnavailable: "throw" | "proceed";
  prefix: string;
  requestTimeout: number;
  deadline: number | (() => number) | undefined;
  waitUntil: ((work: Promise<unknown>) => unknown) | undefined;
  onEvent: ((event: LockEvent) => void) | undefined;
  onLost: "throw" | "ignore";
}

/** One lock, as its holder sees it. */
export interface Lock {
  /** The key as it was given, without the prefix; of several targets their keys, joined by ", ". */
  readonly key: string;
  /** The keys of all targets. */
  readonly keys: readonly string[];
  /** What tells this holder from all others. Secret: whoever has it can release the lock. */
  readonly token: string;
  /** The fencing token, when `fencing` is on: greater than that of every holder before. */
  readonly fence: number | undefined;
  readonly owner: string | undefined;
  /** Whether this process can be sure to hold the lock right now. */
  readonly held: boolean;
  /** Milliseconds this process can still be sure of. */
  readonly remaining: number;
  /**
   * Aborted with a `LockLostError` the moment this process can no longer be sure; with the reason of the `signal`
   * option when that aborts; and with an `AbortError` when the lock is released, before the release is sent. Its
   * `aborted` reads the clock: a process that was frozen past its lease sees it at once, before any timer had a
   * chance to run.
   */
  readonly signal: AbortSignal;
  /**
   * Starts the lease anew, `ttl` long from now (default: as long as before), but not past `deadline`. False when the
   * lock was lost.
   * @throws LockUnavailableError when Redis could not be asked; the lock is held on while `remaining` lasts
   */
  extend(ttl?: Duration): Promise<boolean>;
  /**
   * Makes an exclusive lock a shared one, at once and without letting go. Readers that wait next in the queue come in.
   * Starts the lease anew. False when the lock was lost. From then on it is a shared one, also in its events and handle.
   * @throws LockOptionError unless all targets are exclusive
   * @throws LockUnavailableError when Redis could not be asked. It may be a shared one by then, and may be asked again
   */
  downgrade(): Promise<boolean>;
  /**
   * Gives the lock up. True when it was still ours, false when it had been lost; never deletes another's.
   * Asked again, it gives the same answer. `failed: true` lets it go at once in spite of `holdFor`.
   * @throws LockUnavailableError when Redis could not be asked; the lock ends with its lease, or may be released again
   */
  release(options?: { failed?: boolean | undefined }): Promise<boolean>;
  /** What `locker.resume` takes, in this process or another. Holds the token. */
  toJSON(): LockHandle;
  /**
   * What `await using` calls: as `release({ failed: true })`, since it is not told whether its block threw. It never
   * throws; a release that could not be asked for is an `unavailable` event.
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A lock on its way to another process: `JSON.stringify(lock)`, parsed or not. */
export interface LockHandle {
  key: string;
  prefix: string;
  token: string;
  /** The lease in ms that was last asked for. */
  ttl: number;
  owner: string | undefined;
  fence: number | undefined;
  /** The shortest lease in ms that a request of the process before may yet set. @default none */
  unsettled?: number | undefined;
  /** Ms left of the window for which a success keeps the lock. @default 0 */
  holdFor?: number | undefined;
  /** What is locked, if it is not one exclusive lock: then `key` and `token` are for people to tell handles apart. */
  targets?: readonly HandleTarget[] | undefined;
}

/** A target as a handle carries it. */
export interface HandleTarget {
  key: string;
  token: string;
  mode?: "exclusive" | "shared" | undefined;
  limit?: number | undefined;
  weight?: number | undefined;
  /** Ms left of its window. @default 0 */
  holdFor?: number | undefined;
}

/**
 * What happens on the way of a lock; times are in ms. Never holds a token. A listener that throws changes nothing.
 * The first is `asked`. Then `waiting` each time it stands in the queue, and one of `acquired`, `busy`, `replayed`,
 * `aborted` and `unavailable`. Of an acquired lock come `renewed`, and `lost` or, once it is let go, `released`; both if the release
 * finds that it was lost. An `extend` or a release that fails is `unavailable`, too. docs/events.md has the order for
 * each outcome.
 */
export type LockEvent = {
  /** Of the attempt: it joins the events of one lock, and is no part of its token. */
  id: string;
  /** Of several targets their keys, joined by ", ". */
  key: string;
  /** The keys of all targets. */
  keys: readonly string[];
  /** How it is locked; of several targets `"mixed"`, unless all have the same mode. */
  mode: "exclusive" | "shared" | "permit" | "mixed";
  /** How many permits are asked for, 1 for each target of another mode; of several targets their sum. */
  weight: number;
  /** What this holder calls itself; of `busy` and `waiting` what the other holder does. */
  owner: string | undefined;
} & Happening;
export type Happening =
  | { type: "asked" }
  | {
      type: "acquired";
      /** Since it was asked for. */
      took: number;
      /** The same if it had to be waited for, else 0. */
      waited: number;
      /** Whether a message handed it over, and not a request found it so. */
      granted: boolean;
      fence: number | undefined;
    }
  | {
      type: "busy";
      /** Since it was asked for. */
      took: number;
      waited: number;
      place: number | undefined;
      /** Whose lock it is. */
      owner: string | undefined;
      retryAfter: number | undefined;
    }
  | {
      /** The result of another's work came in the lock's place: `serverless-lock/single-flight`. */
      type: "replayed";
      /** Since it was asked for. */
      took: number;
    }
  | {
      type: "waiting";
      waited: number;
      /** How many wait before us. */
      place: number;
      /** Whose lock it is. */
      owner: string | undefined;
      retryAfter: number | undefined;
    }
  | {
      type: "renewed";
      /** That this process can be sure of from now. */
      remaining: number;
    }
  | { type: "lost"; error: Error }
  | {
      /** The `signal` option ended the acquire. */
      type: "aborted";
      /** Since it was asked for. */
      took: number;
    }
  | {
      type: "released";
      /** Whether the lock was still ours. */
      stillHeld: boolean;
      /** From acquire to the call of the release. */
      heldFor: number;
      /** What was left of the lease at the call of the release. */
      remaining: number;
      /** Whether it is kept for the rest of `holdFor`. */
      kept: boolean;
    }
  | {
      type: "unavailable";
      error: Error;
      /** What was asked for. */
      step: "acquire" | "extend" | "release";
      /** Since that. */
      took: number;
    };
