import { LockBusyError, LockOptionError, show } from "../errors.ts";
import { type HeldLock, type Lock, leaseFor } from "../lock.ts";
import {
  type AdapterLocker,
  connectionOptions,
  type Locker,
  type LockerOptions,
  leave,
  openLocker,
} from "../locker.ts";
import { defaults, readKey, readOptions, type Settings, type WithLockOptions } from "../options.ts";
import { forever } from "../time.ts";

/** What every adapter takes beside the options of `createLocker`. */
export interface LockTarget<Input extends unknown[]> extends LockerOptions, WithLockOptions {
  /** What is locked: a text, or a function of what the handler gets. Evaluated once, before the handler runs. */
  key: string | ((...input: Input) => string);
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
  /** Lets work go on after the handler's end: what is cleaned up behind an acquire, and the release. */
  waitUntil?: ((work: Promise<unknown>) => void) | undefined;
  /** Whether the release is waited for all the same: nobody waits for a response, and a lost lock is to be told. */
  awaitsRelease?: boolean;
  /** Where each invocation brings its own. */
  locker?: Locker | undefined;
}

/** The lock taken, or, while another holds it, the response in the handler's place. */
export type Entry<Response> = { lock: HeldLock } | { lock: undefined; response: Response | null };

/** Ends the lock after the work. @throws LockLostError if that succeeded and the lock was lost meanwhile */
export type End = (success: boolean) => Promise<void>;

/** The options that are no option of `createLocker`. */
const adapterOptions = ["key", "ifBusy", "locker"];

/** The rules of every adapter. Options are checked here, when the handler is wrapped. */
export class Guard<Input extends unknown[], Response> {
  readonly #options: AdapterOptions<Input, Response>;
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
    const { key, ifBusy } = options;
    if (typeof key !== "function") readKey(key);
    if (![undefined, "throw", "skip"].includes(ifBusy as string) && typeof ifBusy !== "function")
      throw new LockOptionError("ifBusy", show(ifBusy), '"throw", "skip" or a function');
    this.#options = options;
    this.#own = options.locker ? own : [...own, ...connectionOptions];
    this.#locker = locker;
    this.#settings(locker);
  }

  #settings(locker: Locker | null): Settings {
    const base = locker ? readLocker(locker).settings : defaults;
    const settings = readOptions({ ...base, renew: base.renew ?? forever }, this.#options, this.#own);
    const { ttl, holdFor, renew } = settings;
    // As with ShedLock's lockAtLeastFor and lockAtMostFor.
    if (!renew && holdFor > ttl)
      throw new LockOptionError("holdFor", show(holdFor), `at most ttl (${ttl}) without renew`);
    return settings;
  }

  /** What to lock for an input. */
  key(input: Input): string {
    const { key } = this.#options;
    if (typeof key !== "function") return key;
    let made: unknown;
    try {
      made = key(...input);
    } catch (cause) {
      if (cause instanceof LockOptionError) throw cause;
      throw new LockOptionError("key", "a function that threw", "a key", { cause });
    }
    return readKey(made);
  }

  /** Before the handler: takes the lock, or says what to answer instead. */
  async enter(input: Input, about: Invocation, key = this.key(input)): Promise<Entry<Response>> {
    const { lifetime, owner, waitUntil } = about;
    const locker = about.locker ?? this.#locker;
    const settings = this.#settings(locker);
    settings.owner ??= owner;
    if (lifetime) cap(settings, lifetime());
    try {
      return { lock: await readLocker(locker).take(key, settings, lifetime, waitUntil) };
    } catch (error) {
      if (error instanceof LockBusyError) return answerBusy(error, this.#options.ifBusy, input);
      throw error;
    }
  }

  /** After the handler. @throws LockLostError if it succeeded and the lock was lost meanwhile */
  async leave(lock: HeldLock, success: boolean, { waitUntil, awaitsRelease, locker }: Invocation = {}) {
    if (waitUntil && !awaitsRelease && lock.held) waitUntil(lock.end(success).catch(() => {}));
    else await leave(lock, this.#settings(locker ?? this.#locker), success);
  }
}

/**
 * Runs the work under a lock.
 * @param hold puts off the end of a lock that the result still needs; undefined where it needs it no more
 */
export async function run<Input extends unknown[], Response, T>(
  guard: Guard<Input, Response>,
  input: Input,
  about: Invocation,
  work: (lock: HeldLock) => T | Promise<T>,
  hold: (result: T, end: End) => T | Promise<T> | undefined = () => undefined,
  key?: string,
): Promise<T | Response | null> {
  const entry = await guard.enter(input, about, key);
  const { lock } = entry;
  if (!lock) return entry.response;
  const end: End = (success) => guard.leave(lock, success, about);
  let result: T;
  let held: T | Promise<T> | undefined;
  try {
    result = await work(lock);
    held = hold(result, end);
  } catch (error) {
    await end(false);
    throw error;
  }
  if (held === undefined) await end(true);
  return held ?? result;
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
export function readHandler(handler: unknown): void {
  if (typeof handler !== "function") throw new LockOptionError("handler", show(handler), "a function");
}

/** Puts the lock at `lock` of what the handler gets; hidden, so that logging that shows no token. */
export function attach<T extends object>(target: T, lock: Lock): T & { lock: Lock } {
  return Object.defineProperty(target as T & { lock: Lock }, "lock", { value: lock, configurable: true });
}

/** A text of a platform as an owner: some of them come with a request. */
export function asOwner(text: string | null | undefined): string | undefined {
  return text?.replace(/[^ -~\xa0-\uffff]/g, "").slice(0, 200) || undefined;
}

/** Nothing may go on past the function's own end, and the release wants a share of it too. */
function cap(settings: Settings, lifetime: number): void {
  // Whole ms, as all settings are: some of them go to Redis, which takes no others.
  const usable = Math.floor(Math.max(20, lifetime - Math.min(1000, lifetime / 10)));
  const most = {
    ttl: Math.max(10, leaseFor(lifetime)),
    wait: usable,
    requestTimeout: Math.floor(usable / 2),
  };
  for (const name of ["ttl", "wait", "requestTimeout"] as const)
    settings[name] = Math.min(settings[name], most[name]);
}

function readLocker(locker: Locker | null): AdapterLocker {
  if (typeof (locker as Partial<AdapterLocker> | null)?.take === "function") return locker as AdapterLocker;
  throw new LockOptionError("locker", show(locker), "what createLocker returned");
}
