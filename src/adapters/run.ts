import { LockBusyError, LockOptionError, show } from "../errors.ts";
import { type HeldLock, type Lock, leaseFor } from "../lock.ts";
import {
  type AdapterLocker,
  connectionOptions,
  createLocker,
  type Locker,
  type LockerOptions,
  leave,
} from "../locker.ts";
import { defaults, readKey, readOptions, type Settings, type WithLockOptions } from "../options.ts";

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
  /** Lets work go on after the response: with it a release is not waited for. */
  waitUntil?: ((work: Promise<unknown>) => void) | undefined;
}

/** The lock taken, or, while another holds it, the response in the handler's place. */
export type Entry<Response> = { lock: HeldLock } | { lock: undefined; response: Response | null };

/** Ends the lock after the work. @throws LockLostError if that succeeded and the lock was lost meanwhile */
export type End = (success: boolean) => Promise<void>;

/** The options that are no option of `createLocker`. */
export const adapterOptions = ["key", "ifBusy", "locker"];

/** Checks an adapter's options. */
export function checkOptions(options: object, own: readonly string[] = adapterOptions): void {
  const { key, ifBusy, locker } = options as Partial<AdapterOptions<unknown[], unknown>>;
  if (typeof key !== "function") readKey(key);
  if (![undefined, "throw", "skip"].includes(ifBusy as string) && typeof ifBusy !== "function")
    throw new LockOptionError("ifBusy", show(ifBusy), '"throw", "skip" or a function of the response');
  readOptions(defaults, options, locker ? own : [...own, ...connectionOptions]);
}

/** The rules of every adapter. Options are checked here, when the handler is wrapped. */
export class Guard<Input extends unknown[], Response> {
  readonly settings: Settings;
  readonly #options: AdapterOptions<Input, Response>;
  readonly #locker: AdapterLocker;

  constructor(options: AdapterOptions<Input, Response>, own: readonly string[] = adapterOptions) {
    checkOptions(options, own);
    const { locker } = options;
    this.#locker = readLocker(locker ?? createLocker(without(options, own)));
    const settings = readOptions(this.#locker.settings, options, [...own, ...connectionOptions]);
    this.settings = { ...settings, renew: settings.renew ?? true };
    const { ttl, holdFor, renew } = this.settings;
    if (!renew && holdFor > ttl)
      throw new LockOptionError("holdFor", `${holdFor} ms`, `at most ttl (${ttl} ms) where renew is false`);
    this.#options = options;
  }

  /** What to lock for an input. */
  key(input: Input): string {
    const { key } = this.#options;
    if (typeof key !== "function") return key;
    try {
      return readKey(key(...input));
    } catch (cause) {
      if (cause instanceof LockOptionError) throw cause;
      throw new LockOptionError("key", "a function that threw", "a function that returns the key", { cause });
    }
  }

  /** Before the handler: takes the lock, or says what to answer instead. */
  async enter(input: Input, about: Invocation, key = this.key(input)): Promise<Entry<Response>> {
    const { lifetime, owner, waitUntil } = about;
    const { ifBusy } = this.#options;
    const settings = { ...this.settings, owner: this.settings.owner ?? owner };
    try {
      const asked = lifetime ? capped(settings, lifetime()) : settings;
      return { lock: await this.#locker.take(key, asked, lifetime, waitUntil) };
    } catch (error) {
      if (!(error instanceof LockBusyError) || ifBusy === undefined || ifBusy === "throw") throw error;
      return { lock: undefined, response: ifBusy === "skip" ? null : await ifBusy(error, ...input) };
    }
  }

  /** After the handler. @throws LockLostError if it succeeded and the lock was lost meanwhile */
  async leave(lock: HeldLock, success: boolean, { waitUntil }: Invocation = {}): Promise<void> {
    if (!waitUntil || !lock.held) return leave(lock, this.settings, success);
    waitUntil(lock.end(success).catch(() => {}));
  }

  /**
   * Runs the work under the lock.
   * @param hold puts off the end of a lock that the result still needs; undefined where it needs it no more
   */
  async run<T>(
    input: Input,
    about: Invocation,
    work: (lock: HeldLock) => T | Promise<T>,
    hold: (result: T, end: End) => T | Promise<T> | undefined = () => undefined,
    key?: string,
  ): Promise<T | Response | null> {
    const entry = await this.enter(input, about, key);
    const { lock } = entry;
    if (!lock) return entry.response;
    const end: End = (success) => this.leave(lock, success, about);
    let result: T;
    try {
      result = await work(lock);
    } catch (error) {
      await end(false);
      throw error;
    }
    const held = hold(result, end);
    if (held === undefined) await end(true);
    return held ?? result;
  }
}

/** @throws LockOptionError */
export function readHandler(handler: unknown): void {
  if (typeof handler !== "function") throw new LockOptionError("handler", show(handler), "a function");
}

/** Puts the lock at `lock` of what the handler gets; hidden, so that logging that shows no token. */
export function attach<T extends object>(target: T, lock: Lock): T & { lock: Lock } {
  Object.defineProperty(target, "lock", { value: lock, configurable: true, writable: true });
  return target as T & { lock: Lock };
}

/** A text of a platform as an owner: some of them come with a request. */
export function asOwner(text: string | null | undefined): string | undefined {
  return text?.replace(/\p{Cc}/gu, "").slice(0, 200) || undefined;
}

/** Nothing may go on past the function's own end, and the release wants a share of it too. */
function capped(settings: Settings, lifetime: number): Settings {
  // Whole ms, as all settings are: some of them go to Redis, which takes no others.
  const usable = Math.floor(Math.max(20, lifetime - Math.min(1000, lifetime / 10)));
  return {
    ...settings,
    ttl: Math.max(10, Math.min(settings.ttl, leaseFor(lifetime))),
    wait: Math.min(settings.wait, usable),
    // A request and its repetitions get twice this.
    requestTimeout: Math.min(settings.requestTimeout, Math.floor(usable / 2)),
  };
}

function readLocker(locker: Locker): AdapterLocker {
  if (typeof (locker as Partial<AdapterLocker> | null)?.take === "function") return locker as AdapterLocker;
  throw new LockOptionError("locker", show(locker), "what createLocker returned");
}

function without<T extends object>(options: T, names: readonly string[]): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name))) as Partial<T>;
}
