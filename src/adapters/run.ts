import type {
  Lock,
  LockEvent,
  Locker,
  LockerOptions,
  LockOptions,
  LockSettings,
  Targets,
  WithLockOptions,
} from "../api.ts";
import {
  LockBusyError,
  type LockError,
  LockOptionError,
  type LockUnavailableError,
  printable,
  show,
} from "../errors.ts";
import { tell } from "../events.ts";
import { checkDeadline, handOver, timeLeft } from "../invocation.ts";
import {
  checkFencing,
  connectionOptions,
  createLocker,
  type Finish,
  finisher,
  longestWindow,
  lossOf,
} from "../locker.ts";
import { defaults, readOptions } from "../options/lock-options.ts";
import { checkFunction, checkOptional, isFunction, isSignal, wellFormed } from "../options/rules.ts";
import { readTargets } from "../options/targets.ts";
import { forever, realRuntime, within } from "../runtime.ts";

/** What adapters use of a locker. One without `options` has the package's defaults. */
export type LockSource = Pick<Locker, "acquire"> & Partial<Pick<Locker, "options">>;

/** Takes the lock of an invocation in another way than by its key: what `idempotent` of `serverless-lock/idempotency` gives. */
export type Take = (
  locker: LockSource,
  asked: LockOptions,
  input: readonly unknown[],
  key: Targets,
) => Promise<{ lock: Lock; keep?: Keep }>;

/**
 * Told of each result before its lock ends. Returns what is handed on in its place; `whole` if nothing of it is to be made
 * any more, so that the lock may end at once. Meanwhile the lock is renewed only while `progress` is called.
 */
type Keep = (
  result: unknown,
  success: boolean,
  progress: () => void,
) => Promise<{ result: unknown; whole: boolean }>;

/** What every adapter takes beside the options of `createLocker`. */
export interface LockTarget<Input extends unknown[]> extends LockerOptions, WithLockOptions {
  /**
   * What is locked: a key, a target or several, or a function of what the handler gets, which may be async. Called
   * once, before the handler runs.
   */
  key: Targets | ((...input: Input) => Targets | Promise<Targets>);
  /**
   * A locker made before, to share its connection and defaults: that of `createLocker`, or any object with its
   * `acquire`. @default one made from these options
   */
  locker?: LockSource | undefined;
  /** Takes the lock in the locker's place. */
  take?: Take | undefined;
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
   * with changes nothing. Where an adapter answers a request, what it promises is waited for: by the platform's `waitUntil`, or
   * for up to `requestTimeout`.
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
  /** Lets clean-up go on after the handler's end. */
  waitUntil?: ((work: Promise<unknown>) => unknown) | undefined;
  /** In place of the `signal` option. */
  signal?: AbortSignal | undefined;
}

/** A lock that was taken for a handler. */
export interface Taken<L = Lock> {
  lock: L;
  /** Ends the lock, the first time it is called. @param error of work that failed */
  finish(success: boolean, error?: unknown): Promise<void>;
  /** From here on the lock is renewed only while `progress` is called. */
  pace(): void;
  /** Says that the work got on. */
  progress(): void;
  keep?: Keep | undefined;
}

/** The lock taken, or, while another holds it, the response in the handler's place. */
type Entry<Response> = Taken | { lock: undefined; response: Response | null };

/** An adapter's options once checked, and what takes the lock of each invocation. */
export interface Locking<Input extends unknown[], Response> {
  /** @param key what is locked, if that is known already */
  enter(input: Input, about: Invocation, key?: Targets): Promise<Entry<Response>>;
  settings: LockSettings;
  onError(error: LockError, ...input: Input): unknown;
}

/** The options that are no option of `createLocker`. */
const adapterOptions = ["key", "ifBusy", "locker", "take", "onError"];

/**
 * Checks an adapter's options, once.
 * @param own names of the adapter's own options
 * @throws LockOptionError
 */
export function locking<Input extends unknown[], Response>(
  options: AdapterOptions<Input, Response>,
  own: readonly string[] = adapterOptions,
): Locking<Input, Response> {
  const all: typeof options = Object(options);
  const { key, ifBusy, onError = print, locker: given, take, url, token, redis } = all;
  if (given !== undefined && !isFunction(Object(given).acquire))
    throw new LockOptionError("locker", show(given), "what createLocker returned");
  const connection = given === undefined ? connectionOptions : [];
  const base = { ...defaults, ...given?.options };
  const settings = readOptions(base, options, [...own, ...connection]);
  // What a function makes of an input is checked once that is there.
  const known = readTargets(isFunction(key) ? "a key" : key);
  checkFencing(known, settings);
  checkIfBusy(ifBusy);
  checkFunction("onError", onError);
  checkOptional("take", take);
  // Nothing else would tell that it has no effect.
  if (take && all.holdFor !== undefined)
    throw new LockOptionError("holdFor", show(all.holdFor), "none beside keepFor");
  const { ttl, renew = forever, onEvent } = settings;
  const holdFor = longestWindow(known, settings);
  // As with ShedLock's lockAtLeastFor and lockAtMostFor.
  if (!renew && holdFor > ttl)
    throw new LockOptionError("holdFor", show(holdFor), `at most ttl (${ttl}) without renew`);
  const locker = given ?? createLocker({ url, token, redis });

  async function enter(input: Input, about: Invocation, ready?: Targets): Promise<Entry<Response>> {
    const key = ready ?? (await keyOf(options, input));
    const { pace, deadline, progress } = renewing(settings, about);
    let failure: LockUnavailableError | undefined;
    // What neither the user nor the platform says is left to the locker.
    const asked = without([...own, ...connection, "onLost"], {
      ...options,
      renew: settings.renew === undefined || options.renew,
      owner: settings.owner ?? about.owner,
      waitUntil: settings.waitUntil ?? about.waitUntil,
      signal: about.signal ?? options.signal,
      deadline,
      onEvent(event: LockEvent) {
        if (event.type === "unavailable") failure = event.error as LockUnavailableError;
        return onEvent?.(event);
      },
    });
    let lock: Lock;
    let keep: Keep | undefined;
    try {
      if (take) ({ lock, keep } = await take(locker, asked, input, key));
      else lock = await locker.acquire(key, asked);
    } catch (error) {
      if (error instanceof LockBusyError) return answerBusy(error, ifBusy, input);
      throw error;
    }
    if (!isSignal(Object(lock).signal) || !isFunction(lock.release))
      throw new LockOptionError(
        "locker",
        "one whose `acquire` gave no lock",
        "a lock with signal and release",
      );
    if (failure && !lock.held) handOver(tell(onError, failure, ...input), asked.waitUntil);
    const holdFor = longestWindow(readTargets(key), settings);
    const finish = once(finisher(lock, { ...settings, holdFor }));
    return { lock, finish, pace, progress: () => progress(lock), keep };
  }

  return { enter, settings, onError };
}

/** The options without those named, and without those that are undefined. */
function without<T extends object>(names: readonly string[], options: T): T {
  const kept = Object.entries(options).filter(
    ([name, value]) => value !== undefined && !names.includes(name),
  );
  return Object.fromEntries(kept) as T;
}

/**
 * Steers a lock's renewal by what a locker asks before each: the time that is left. None is left for a lock that is
 * paced and whose work did not get on for a whole lease.
 */
function renewing({ deadline, ttl }: LockSettings, { lifetime }: Invocation) {
  const since = realRuntime.sinceNow();
  // The locker is told what adapters make of it.
  checkDeadline(deadline, since);
  const remainingTime = () => Math.min(timeLeft(deadline, since), timeLeft(lifetime, since));
  let paced = false;
  let leftOut = false;
  let sinceProgress = () => forever;
  return {
    // A locker may ask at any time, and more than once.
    deadline() {
      leftOut = paced && sinceProgress() > ttl;
      return leftOut ? 0 : remainingTime();
    },
    pace() {
      paced = true;
    },
    progress(lock: Lock) {
      sinceProgress = realRuntime.sinceNow();
      if (!leftOut) return;
      leftOut = false;
      lock.extend().catch(() => {
        leftOut = true;
      });
    },
  };
}

/** Calls the function the first time. What that returned is the answer to all calls. */
export function once(finish: Taken["finish"]): Taken["finish"] {
  let finished: Promise<void> | undefined;
  return (...how) => {
    finished ??= finish(...how);
    return finished;
  };
}

/** What to lock for an input. @throws LockOptionError */
export async function keyOf<Input extends unknown[]>(
  { key }: LockTarget<Input>,
  input: Input,
): Promise<Targets> {
  if (typeof key !== "function") return key;
  try {
    const made = await key(...input);
    readTargets(made);
    return made;
  } catch (cause) {
    if (cause instanceof LockOptionError) throw cause;
    throw new LockOptionError("key", "a function that threw", "a key", { cause });
  }
}

/** Waits for what a listener promised, for a while if the platform does not: a function may not go on after its answer. */
export async function report(
  told: Promise<void>,
  { waitUntil, requestTimeout }: LockSettings,
  about: Pick<Invocation, "waitUntil">,
): Promise<void> {
  if (!handOver(told, waitUntil ?? about.waitUntil)) await within(realRuntime, told, requestTimeout);
}

/** What `onError` is by default: an adapter prints what nobody else gets to see. */
export function print(error: unknown, ..._input: unknown[]): void {
  console.error(error);
}

/** @throws LockOptionError */
export function checkIfBusy(ifBusy: unknown = "throw"): void {
  if (ifBusy !== "throw" && ifBusy !== "skip")
    checkFunction("ifBusy", ifBusy, '"throw", "skip" or a function');
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

/** What an adapter knows of its results. */
export interface Results<T, L = Lock> {
  /** Whether the work did what it should: only then is the lock kept for `holdFor`. */
  succeeded(result: T): boolean;
  /** Puts off the end of a lock that the result still needs. Undefined if it does not need it any more. */
  hold(result: T, taken: Taken<L>): T | Promise<T> | undefined;
  /** Told of a result that is not handed on, since the lock was lost or the result cannot be held. */
  discard(result: T): void;
}

/** Whether an answer says that the work was not done: it failed, or the lock of another adapter inside was busy. */
export function isFailure(status: unknown): boolean {
  return Number(status) >= 500 || Number(status) === 423;
}

/** Runs the work under a lock that was taken. If it fails, the lock is ended. */
export async function runUnder<T>({ lock, finish }: Taken, work: (lock: Lock) => T | Promise<T>): Promise<T> {
  try {
    return await work(lock);
  } catch (error) {
    await finish(false, error);
    throw error;
  }
}

/** After work that returned: ends its lock, or leaves that to the result. Returns what is to be handed on. */
export async function settle<T, L extends Partial<Lock>>(
  taken: Taken<L>,
  result: T,
  { succeeded, hold, discard }: Results<T, L>,
): Promise<T> {
  try {
    const success = succeeded(result);
    if (taken.keep && !lossOf(taken.lock)) {
      taken.pace();
      const kept = await taken.keep(result, success, taken.progress);
      result = kept.result as T;
      if (kept.whole) {
        await taken.finish(true);
        return result;
      }
    }
    const finish: Finish = (whole) => taken.finish(whole && success);
    // A loss that is known is told in the result's place.
    const held = lossOf(taken.lock) ? undefined : hold(result, { ...taken, finish });
    if (held !== undefined) return held;
    await finish(true);
    return result;
  } catch (error) {
    discard(result);
    await taken.finish(false, error);
    throw error;
  }
}

/**
 * Puts the lock at `lock` of what the handler gets; hidden, so that logging that shows no token. What is frozen is
 * handed on through a view of it that has the lock.
 */
export function attach<T extends object, L>(target: T, lock: L): T & { lock: L } {
  const hidden = { value: lock, configurable: true, enumerable: false, writable: true };
  const attached = Reflect.defineProperty(target, "lock", hidden);
  return attached ? (target as T & { lock: L }) : viewOf(target, { lock });
}

/** The target as it is, with other properties in front. */
export function viewOf<T extends object, Own extends object>(target: T, own: Own): T & Own {
  // Of what is frozen a proxy may give nothing else than is there.
  return new Proxy((Object.isFrozen(target) ? { ...target } : target) as T & Own, {
    get(_, name) {
      if (Object.hasOwn(own, name)) return Reflect.get(own, name);
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
