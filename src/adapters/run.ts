import { LockBusyError, type LockError, LockOptionError, printable, show } from "../errors.ts";
import type { HeldLock } from "../lock.ts";
import {
  type AdapterLocker,
  connectionOptions,
  type Locker,
  type LockerOptions,
  leave,
  openLocker,
} from "../locker.ts";
import {
  defaults,
  readKey,
  readOptions,
  type Settings,
  type WithLockOptions,
  wellFormed,
} from "../options.ts";
import { forever, whenAborted } from "../time.ts";

/** What every adapter takes beside the options of `createLocker`. */
export interface LockTarget<Input extends unknown[]> extends LockerOptions, WithLockOptions {
  /**
   * What is locked: a text, or a function of what the handler gets, which may be async. Called once, before the
   * handler runs.
   */
  key: string | ((...input: Input) => string | Promise<string>);
  /** A locker made before, to share its connection and defaults. @default one made from these options */
  locker?: Locker | undefined;
}

/** What the adapters take whose handler makes a response. */
export interface AdapterOptions<Input extends unknown[], Response> extends LockTarget<Input> {
  /**
   * While another holds the lock: throw a `LockBusyError`, skip the handler (its result is null), or answer
   * with what the function returns.
   * @default "throw"
   */
  ifBusy?: IfBusy<Input, Response> | undefined;
  /**
   * Told of every error that the caller does not get to see: one that was answered with a 5xx, one of a release
   * after the answer, and why a handler ran without its lock (`ifUnavailable: "proceed"`). What it throws or rejects
   * with changes nothing.
   * @default console.error
   */
  onError?: ((error: LockError, ...input: Input) => unknown) | undefined;
}

export type IfBusy<Input extends unknown[], Response> =
  | "throw"
  | "skip"
  | ((error: LockBusyError, ...input: Input) => Response | Promise<Response>);

/** What the platform knows of an invocation. */
export interface Invocation {
  /** Milliseconds the function may still run. */
  lifetime?: (() => number) | undefined;
  /** Shown to others when the `owner` option is not set. */
  owner?: string | undefined;
  /**
   * Lets work go on after the handler's end: what is cleaned up behind an acquire, and the release. If it throws,
   * the release is waited for.
   */
  waitUntil?: ((work: Promise<unknown>) => unknown) | undefined;
  /** Aborts when nobody waits for the answer any more. Ends the wait and the acquire, and not the handler's work. */
  signal?: AbortSignal | undefined;
  /** Whether the release is waited for all the same: nobody waits for a response, and a lost lock is to be told. */
  awaitsRelease?: boolean;
  /** Where each invocation brings its own. */
  locker?: Locker | undefined;
}

/** Ends the lock after the work. @throws LockLostError if that succeeded and the lock was lost meanwhile */
export type End = (success: boolean) => Promise<void>;

/** A lock that was taken, and how it is ended. */
export interface Taken {
  lock: HeldLock;
  end: End;
}

/** The lock taken, or, while another holds it, the response in the handler's place. */
export type Entry<Response> = Taken | { lock: undefined; response: Response | null };

/** What an adapter knows of its results. */
export interface Results<T> {
  /** Whether the work did what it should: only then is the lock kept for `holdFor`. @default true */
  succeeded?(result: T): boolean;
  /** Whether work that failed may still go on: then the lock is left to end by itself. @param error what it threw */
  gaveUp?(error?: unknown): boolean;
  /** Puts off the end of a lock that the result still needs. Undefined if it does not need it any more. */
  hold?(result: T, end: End, lock: HeldLock): T | Promise<T> | undefined;
  /** Told of a result that is not handed on, since the lock was lost or the result cannot be held. */
  discard?(result: T | undefined): void;
}

/** The options that are no option of `createLocker`. */
const adapterOptions = ["key", "ifBusy", "locker", "onError"];

/** The rules of every adapter. Options are checked here, when the handler is wrapped. */
export class Guard<Input extends unknown[], Response> {
  readonly options: AdapterOptions<Input, Response>;
  readonly #own: readonly string[];
  readonly #locker: Locker | null;

  /**
   * @param own names of the adapter's own options
   * @param locker null where each invocation brings its own
   */
  constructor(
    options: AdapterOptions<Input, Response>,
    own: readonly string[] = adapterOptions,
    locker: Locker | null = options.locker ?? openLocker(options, own),
  ) {
    const { key, ifBusy, onError } = options;
    if (typeof key !== "function") readKey(key);
    if (![undefined, "throw", "skip"].includes(ifBusy as string) && typeof ifBusy !== "function")
      throw new LockOptionError("ifBusy", show(ifBusy), '"throw", "skip" or a function');
    if (onError !== undefined) readHandler(onError, "onError");
    this.options = options;
    this.#own = options.locker ? own : [...own, ...connectionOptions];
    this.#locker = locker;
    this.#settings(locker);
  }

  #settings(locker: Locker | null): Settings {
    const base = locker ? readLocker(locker).settings : defaults;
    const settings = readOptions({ ...base, renew: base.renew ?? forever }, this.options, this.#own);
    const { ttl, holdFor, renew } = settings;
    // As with ShedLock's lockAtLeastFor and lockAtMostFor.
    if (!renew && holdFor > ttl)
      throw new LockOptionError("holdFor", show(holdFor), `at most ttl (${ttl}) without renew`);
    return settings;
  }

  /** What to lock for an input. @throws LockOptionError */
  async key(input: Input): Promise<string> {
    const { key } = this.options;
    if (typeof key !== "function") return key;
    let made: unknown;
    try {
      made = await key(...input);
    } catch (cause) {
      if (cause instanceof LockOptionError) throw cause;
      throw new LockOptionError("key", "a function that threw", "a key", { cause });
    }
    return readKey(made);
  }

  /**
   * Before the handler: takes the lock, or says what to answer instead.
   * @param ready what `key` gave before
   */
  async enter(input: Input, about: Invocation, ready?: string): Promise<Entry<Response>> {
    const { lifetime, owner, waitUntil, awaitsRelease, signal } = about;
    const key = ready ?? (await this.key(input));
    const locker = about.locker ?? this.#locker;
    const settings = this.#settings(locker);
    settings.owner ??= owner;
    if (lifetime) settings.deadline = lifetime;
    if (waitUntil) settings.waitUntil = waitUntil;
    try {
      const lock = await untilAborted(signal, settings, (settings) => readLocker(locker).take(key, settings));
      if (lock.failure) this.report(lock.failure, input);
      const end: End = async (success) => {
        // A loss that is known is told by the answer.
        const goesOn = waitUntil && !awaitsRelease && lock.held;
        const left = leave(lock, settings, success);
        if (goesOn && handOver(left, waitUntil)) left.catch((error) => this.report(error, input));
        else await left;
      };
      return { lock, end };
    } catch (error) {
      if (error instanceof LockBusyError) return answerBusy(error, this.options.ifBusy, input);
      throw error;
    }
  }

  /** Tells of an error that nobody else would see. Never rejects. */
  async report(error: LockError, input: Input): Promise<void> {
    const { onError = (error: LockError) => console.error(error) } = this.options;
    try {
      await onError(error, ...input);
    } catch {}
  }
}

/**
 * Runs the work under a lock.
 * @param key what the guard's `key` gave, where that was asked before
 */
export async function run<Input extends unknown[], Response, T>(
  guard: Guard<Input, Response>,
  input: Input,
  about: Invocation,
  work: (lock: HeldLock) => T | Promise<T>,
  results?: Results<T>,
  key?: string,
): Promise<T | Response | null> {
  const entry = await guard.enter(input, about, key);
  return entry.lock ? underLock(entry, work, results) : entry.response;
}

/** Runs the work under a lock that was taken, and ends that. */
export async function underLock<T>(
  { lock, end }: Taken,
  work: (lock: HeldLock) => T | Promise<T>,
  { succeeded = () => true, gaveUp = () => false, hold, discard }: Results<T> = {},
): Promise<T> {
  const fail = async (error?: unknown) => {
    if (gaveUp(error)) lock.stopRenewing();
    else await end(false);
  };
  let result: T | undefined;
  let success: boolean;
  try {
    result = await work(lock);
    success = succeeded(result);
    const lost = lock.signal.aborted && lock.lost;
    const held = lost ? undefined : hold?.(result, (whole) => end(whole && success), lock);
    if (held !== undefined) return held;
  } catch (error) {
    discard?.(result);
    await fail(error);
    throw error;
  }
  try {
    await (success ? end(true) : fail());
  } catch (error) {
    discard?.(result);
    throw error;
  }
  return result;
}

/** What to answer while another holds the lock. @throws LockBusyError where that is wanted */
export async function answerBusy<Input extends unknown[], Response>(
  error: LockBusyError,
  ifBusy: IfBusy<Input, Response> = "throw",
  input: Input,
): Promise<{ lock: undefined; response: Response | null }> {
  if (ifBusy === "throw") throw error;
  return { lock: undefined, response: ifBusy === "skip" ? null : await ifBusy(error, ...input) };
}

/** @throws LockOptionError */
export function readHandler(handler: unknown, name = "handler"): void {
  if (typeof handler !== "function") throw new LockOptionError(name, show(handler), "a function");
}

/**
 * Puts the lock at `lock` of what the handler gets; hidden, so that logging that shows no token. What is frozen is
 * handed on through a view of it that has the lock.
 */
export function attach<T extends object, L>(target: T, lock: L): T & { lock: L } {
  const hidden = { value: lock, configurable: true, enumerable: false, writable: true };
  const attached = Reflect.defineProperty(target, "lock", hidden);
  return attached ? (target as T & { lock: L }) : viewOf(target, lock);
}

/** The target as it is, with another lock. */
export function viewOf<T extends object, L>(target: T, lock: L): T & { lock: L } {
  return new Proxy(target as T & { lock: L }, {
    get(_, name) {
      if (name === "lock") return lock;
      const value = Reflect.get(target, name, target);
      // A platform's object wants its methods called on itself.
      return typeof value === "function" && !Object.hasOwn(target, name) ? value.bind(target) : value;
    },
  });
}

/** A text of a platform, if it is one, as an owner: some of them come with a request, or from a test's mock. */
export function asOwner(text: unknown): string | undefined {
  return (typeof text === "string" && wellFormed(printable(text).slice(0, 200))) || undefined;
}

/** Lets the platform wait for the work. False if it does not: a hook of its that throws changes nothing else. */
function handOver(work: Promise<unknown>, waitUntil: (work: Promise<unknown>) => unknown): boolean {
  try {
    Promise.resolve(waitUntil(work.catch(() => {}))).catch(() => {});
    return true;
  } catch {
    return false;
  }
}

/**
 * Takes a lock, unless `leaving` aborts before it was got. Later that has no effect on the lock, whose own `signal`
 * option has.
 */
async function untilAborted(
  leaving: AbortSignal | undefined,
  settings: Settings,
  take: (settings: Settings) => Promise<HeldLock>,
): Promise<HeldLock> {
  if (!leaving) return take(settings);
  // Not AbortSignal.any: not every runtime has it, and some of those that do never let go of its signals.
  const either = new AbortController();
  const follow = (signal: AbortSignal | undefined) => whenAborted(signal, () => either.abort(signal?.reason));
  const forgetLeaving = follow(leaving);
  const forgetOwn = follow(settings.signal);
  const taking = take({ ...settings, signal: either.signal }).finally(forgetLeaving);
  taking.then((lock) => whenAborted(lock.signal, forgetOwn), forgetOwn);
  return taking;
}

function readLocker(locker: Locker | null): AdapterLocker {
  if (typeof (locker as Partial<AdapterLocker> | null)?.take === "function") return locker as AdapterLocker;
  throw new LockOptionError("locker", show(locker), "what createLocker returned");
}
