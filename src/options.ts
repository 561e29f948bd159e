import { LockOptionError, printable, show } from "./errors.ts";
import { type Duration, forever, milliseconds } from "./time.ts";

/** What is known of another holder. */
export interface Holder {
  /** What it calls itself, if it said so. */
  owner: string | undefined;
  /** Milliseconds its lease may last: what is left of it where the server said so, else its whole length. */
  retryAfter: number | undefined;
}

/** What happens on the way of a lock; `waited` is in ms. Never holds a token. A listener that throws changes nothing. */
export type LockEvent = {
  /** Of the attempt: it joins the events of one lock, and is no part of its token. */
  id: string;
  key: string;
} & Happening;
type Happening =
  | {
      type: "acquired";
      waited: number;
      /** Whether a message handed it over, and not a request found it so. */
      granted: boolean;
      fence: number | undefined;
    }
  | ({ type: "busy"; waited: number; place: number | undefined } & Holder)
  // `place`: how many wait before us.
  | ({ type: "waiting"; waited: number; place: number } & Holder)
  // `remaining`: ms this process can be sure of from now.
  | { type: "renewed"; remaining: number }
  | { type: "lost"; error: Error }
  // `stillHeld`: whether the lock was still ours.
  | { type: "released"; stillHeld: boolean }
  | { type: "unavailable"; error: Error };

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
  /** `"proceed"` runs without the lock when Redis cannot be asked: `lock.held` is false then. @default "throw" */
  ifUnavailable?: "throw" | "proceed" | undefined;
  /** In front of every key, up to 200 characters. @default "lock:" */
  prefix?: string | undefined;
  /** One HTTP request's limit, 10 ms to 60 s. A request and its repetitions together get twice that. @default "2s" */
  requestTimeout?: Duration | undefined;
  /**
   * Milliseconds the caller may still run, from the call on or whenever the function is asked. Lease, wait and requests
   * end before it, and no lease is renewed past it. @default none
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
  /** Ms from acquire: 0 for `false`, Infinity for `true`. Undefined where nobody chose. */
  renew: number | undefined;
  holdFor: number;
  signal: AbortSignal | undefined;
  owner: string | undefined;
  fencing: boolean;
  ifUnavailable: "throw" | "proceed";
  prefix: string;
  requestTimeout: number;
  deadline: number | (() => number) | undefined;
  waitUntil: ((work: Promise<unknown>) => unknown) | undefined;
  onEvent: ((event: LockEvent) => void) | undefined;
  onLost: "throw" | "ignore";
}

interface Rule<T> {
  default: T;
  fits: string;
  /** The setting a value makes, or undefined where it does not fit. */
  read(value: unknown): T | undefined;
}

const renewFor = duration(0, "10ms", "31d");
/** A cluster takes what is between the first "{" and the next "}" for a hash tag, unless nothing is there. */
const emptyTag = /^[^{]*\{\}/;

// The one place for every option, its default and its check.
const rules: { [Name in keyof Settings]: Rule<Settings[Name]> } = {
  ttl: duration(10_000, "10ms", "24h"),
  wait: duration(0, 0, "24h"),
  renew: {
    default: undefined,
    fits: `true or false, or ${renewFor.fits}`,
    read: (value) => (typeof value === "boolean" ? (value ? forever : 0) : renewFor.read(value)),
  },
  holdFor: duration(0, 0, "31d"),
  signal: rule(undefined, "an AbortSignal", isSignal),
  owner: text(undefined),
  fencing: oneOf<boolean>(false, true, false),
  ifUnavailable: oneOf("throw", "throw", "proceed"),
  // A cluster ignores an empty hash tag: the keys of one lock would lie on different nodes.
  prefix: text("lock:", " and no {}", emptyTag),
  requestTimeout: duration(2000, "10ms", "60s"),
  deadline: rule(
    undefined,
    "ms, or a function that tells them",
    (value) => isFunction(value) || Number(value) >= 0,
  ),
  waitUntil: rule(undefined, "a function", isFunction),
  onEvent: rule(undefined, "a function", isFunction),
  onLost: oneOf("throw", "throw", "ignore"),
};

const names = Object.keys(rules) as (keyof Settings)[];

export const defaults = Object.fromEntries(
  names.map((name) => [name, rules[name].default]),
) as unknown as Settings;

/**
 * `base` overridden by what of `options` is not undefined, checked.
 * @param others names that belong to the caller and are passed over here
 */
export function readOptions(base: Settings, options: unknown = {}, others: readonly string[] = []): Settings {
  if (typeof options !== "object" || !options)
    throw new LockOptionError("options", show(options), "an object");
  const settings: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(options)) {
    if (others.includes(name)) continue;
    if (!Object.hasOwn(rules, name))
      throw new LockOptionError(name, "an unknown option", `one of ${[...names, ...others].join(", ")}`);
    if (value === undefined) continue;
    const { read, fits } = rules[name as keyof Settings];
    const setting = read(value);
    if (setting === undefined) throw new LockOptionError(name, show(value), fits);
    settings[name] = setting;
  }
  return settings as unknown as Settings;
}

/** A key made of a value that was not there, which many locks would share by mistake. */
const madeOfNothing = /\[object Object\]|(^|[:/|@#\s])(undefined|NaN)($|[:/|@#\s])/;

/** A lock's name as the caller gave it, checked: longer ones are more likely a mistake, such as a whole event. */
export function readKey(key: unknown): string {
  const text = typeof key === "string" && key.length <= 1024 ? key : "";
  const whole = !madeOfNothing.test(text) && wellFormed(text) === text;
  if (text && whole) return text;
  const fits = whole
    ? "a text of 1 to 1024 characters"
    : "one without undefined, NaN, [object Object], or a cut emoji";
  throw new LockOptionError("key", show(key), fits);
}

/** The text as it comes back from Redis: half a surrogate pair, as of a cut emoji, cannot go there. */
export function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udfff]/gu, "\ufffd");
}

/**
 * `<prefix>{<key>}` in Redis: the braces keep a lock's keys on one cluster slot. A key that begins with "}" would make
 * them empty, and empty ones do not count: it is at `<prefix>{:}<key>:`, which is no other key's place.
 */
export function redisKey(prefix: string, key: string): string {
  const usual = `${prefix}{${key}}`;
  return emptyTag.test(usual) ? `${prefix}{:}${key}:` : usual;
}

function isFunction(value: unknown): boolean {
  return typeof value === "function";
}

function isSignal(value: unknown): boolean {
  const { aborted, addEventListener, throwIfAborted } = Object(value) as Partial<AbortSignal>;
  return typeof aborted === "boolean" && isFunction(addEventListener) && isFunction(throwIfAborted);
}

/** Calls the listener; what it throws or rejects with changes nothing. */
export async function emit(
  { settings, id, key }: { settings: Settings; id: string; key: string },
  happening: Happening,
): Promise<void> {
  try {
    await settings.onEvent?.({ id, key, ...happening });
  } catch {}
}

function rule<T>(fallback: T, fits: string, accepts: (value: unknown) => boolean): Rule<T> {
  return { default: fallback, fits, read: (value) => (accepts(value) ? (value as T) : undefined) };
}

function duration(fallback: number, least: Duration, most: Duration): Rule<number> {
  return {
    default: fallback,
    fits: `ms or a text such as "500ms", "10s", from ${least} to ${most}`,
    read(value) {
      const ms = milliseconds(value);
      return ms >= milliseconds(least) && ms <= milliseconds(most) ? ms : undefined;
    },
  };
}

function oneOf<T>(fallback: T, ...choices: T[]): Rule<T> {
  return rule(fallback, choices.map((choice) => show(choice)).join(" or "), (value) =>
    choices.includes(value as T),
  );
}

/** @param also what else is said of it, where `unfit` says what does not fit */
function text<T>(fallback: T, also = "", unfit = /^\b$/): Rule<T> {
  return {
    default: fallback,
    fits: `a text of up to 200 characters, no control characters${also}`,
    read: (value) =>
      typeof value === "string" && printable(value) === value && value.length <= 200 && !unfit.test(value)
        ? (wellFormed(value) as T)
        : undefined,
  };
}
