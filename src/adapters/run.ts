import { LockBusyError, LockOptionError, show } from "../errors.ts";
import { type HeldLock, leaseFor } from "../lock.ts";
import {
  type AdapterLocker,
  connectionOptions,
  createLocker,
  type Locker,
  type LockerOptions,
  leave,
} from "../locker.ts";
import { readKey, readOptions, type Settings, type WithLockOptions } from "../options.ts";

/** What every adapter takes beside the options of `createLocker`. */
export interface AdapterOptions<Input extends unknown[], Response> extends LockerOptions, WithLockOptions {
  /** What is locked: a text, or a function of what the handler gets. Evaluated once, before the handler runs. */
  key: string | ((...input: Input) => string);
  /**
   * While another holds the lock: throw a `LockBusyError`, skip the handler (its result is null), or answer
   * with what the function returns.
   * @default "throw"
   */
  ifBusy?:
    | "throw"
    | "skip"
    | ((error: LockBusyError, ...input: Input) => Response | Promise<Response>)
    | undefined;
  /** A locker made before, to share its connection and defaults. @default one made from these options */
  locker?: Locker | undefined;
}

/** What the platform knows of an invocation. */
export interface Invocation {
  /** Milliseconds the function may still run. */
  lifetime?: (() => number) | undefined;
  /** Shown to others when the `owner` option is not set. */
  owner?: string | undefined;
}

/** The lock taken, or, while another holds it, the response in the handler's place. */
export type Entry<Response> = { lock: HeldLock } | { lock: undefined; response: Response | null };

/** The rules of every adapter. Options are checked here, when the handler is wrapped. */
export class Guard<Input extends unknown[], Response> {
  readonly settings: Settings;
  readonly #options: AdapterOptions<Input, Response>;
  readonly #locker: AdapterLocker;

  constructor(options: AdapterOptions<Input, Response>) {
    const { key, ifBusy = "throw", locker } = options;
    if (typeof key !== "function") readKey(key);
    if (ifBusy !== "throw" && ifBusy !== "skip" && typeof ifBusy !== "function") {
      throw new LockOptionError(
        "ifBusy",
        show(ifBusy),
        '"throw", "skip" or a function that makes the response',
      );
    }
    const own = ["key", "ifBusy", "locker"];
    this.#locker = readLocker(locker ?? createLocker(without(options, own)));
    const settings = readOptions(
      this.#locker.settings,
      options,
      locker ? own : [...own, ...connectionOptions],
    );
    this.settings = { ...settings, renew: settings.renew ?? true };
    this.#options = options;
  }

  /** Before the handler: takes the lock, or says what to answer instead. */
  async enter(input: Input, { lifetime, owner }: Invocation): Promise<Entry<Response>> {
    const { ifBusy } = this.#options;
    const settings = { ...this.settings, owner: this.settings.owner ?? owner };
    try {
      const lock = await this.#locker.take(
        this.#key(input),
        lifetime ? capped(settings, lifetime()) : settings,
        lifetime,
      );
      return { lock };
    } catch (error) {
      if (!(error instanceof LockBusyError) || ifBusy === undefined || ifBusy === "throw") throw error;
      return { lock: undefined, response: ifBusy === "skip" ? null : await ifBusy(error, ...input) };
    }
  }

  /** After the handler. @throws LockLostError if it succeeded and the lock was lost meanwhile */
  leave(lock: HeldLock, success: boolean): Promise<void> {
    return leave(lock, this.settings, success);
  }

  #key(input: Input): string {
    const { key } = this.#options;
    if (typeof key !== "function") return key;
    try {
      return readKey(key(...input));
    } catch (cause) {
      if (cause instanceof LockOptionError) throw cause;
      throw new LockOptionError("key", "a function that threw", "a function that returns the key", { cause });
    }
  }
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
