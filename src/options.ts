import { LockOptionError, show } from "./errors.ts";
import { type Duration, milliseconds } from "./time.ts";

/** What happens on the way of a lock. Never holds a token. A listener that throws changes nothing. */
export type LockEvent = { key: string } & (
  | { type: "acquired" /** ms spent until it was held */; waited: number; fence?: number }
  | {
      type: "busy";
      owner?: string /** ms the holder's lease may last */;
      retryAfter?: number;
      waited: number;
    }
  | {
      type: "waiting";
      owner?: string /** ms the holder's lease may last */;
      retryAfter?: number;
      waited: number;
    }
  | { type: "renewed" /** ms this process can be sure of from now */; remaining: number }
  | { type: "lost"; error: Error }
  | { type: "released" /** whether the lock was still ours */; stillHeld: boolean }
  | { type: "unavailable"; error: Error }
);

/** Options of `createLocker` (as defaults) and of each call (as overrides). `undefined` means the default. */
export interface LockOptions {
  /** The lease: how long the lock outlives a holder that died. 10 ms to 24 h. @default "10s" */
  ttl?: Duration | undefined;
  /** How long to wait while another holds the lock. 0 to 24 h. @default 0 */
  wait?: Duration | undefined;
  /** Keep the lease alive while held. @default true in `withLock` and the adapters, false in `acquire` */
  renew?: boolean | undefined;
  /** Keep the lock this long after a success, counted from acquire. 0 to 31 days. @default 0 */
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
  /** Told of every event. @default none */
  onEvent?: ((event: LockEvent) => void) | undefined;
}

/** What `withLock` takes beside `LockOptions`. */
export interface WithLockOptions extends LockOptions {
  /** `"ignore"` hands over the work's result although the lock was lost meanwhile. @default "throw" */
  onLost?: "throw" | "ignore" | undefined;
}

/** The options once checked: durations in ms, defaults filled in. */
export interface Settings {
  ttl: number;
  wait: number;
  renew: boolean | undefined;
  holdFor: number;
  signal: AbortSignal | undefined;
  owner: string | undefined;
  fencing: boolean;
  ifUnavailable: "throw" | "proceed";
  prefix: string;
  requestTimeout: number;
  onEvent: ((event: LockEvent) => void) | undefined;
  onLost: "throw" | "ignore";
}

interface Rule<T> {
  default: T;
  fits: string;
  /** The checked value, or undefined when it does not fit. */
  read(value: unknown): T | undefined;
}

const flag = {
  fits: "true or false",
  read: (value: unknown) => (typeof value === "boolean" ? value : undefined),
};
const second = 1000;
const hour = 3600 * second;

// The one place for every option, its default and its check.
const rules: { [Name in keyof Settings]: Rule<Settings[Name]> } = {
  ttl: duration(10 * second, 10, 24 * hour, "10ms to 24h"),
  wait: duration(0, 0, 24 * hour, "0 to 24h"),
  renew: { default: undefined, ...flag },
  holdFor: duration(0, 0, 31 * 24 * hour, "0 to 31d"),
  signal: {
    default: undefined,
    fits: "an AbortSignal",
    read: (value) => (isSignal(value) ? value : undefined),
  },
  owner: { default: undefined, ...text(200) },
  fencing: { default: false, ...flag },
  ifUnavailable: oneOf("throw", "proceed"),
  prefix: { default: "lock:", ...text(200) },
  requestTimeout: duration(2 * second, 10, 60 * second, "10ms to 60s"),
  onEvent: {
    default: undefined,
    fits: "a function",
    read: (value) => (typeof value === "function" ? (value as Settings["onEvent"]) : undefined),
  },
  onLost: oneOf("throw", "ignore"),
};

const names = Object.keys(rules) as (keyof Settings)[];

export const defaults = Object.fromEntries(
  names.map((name) => [name, rules[name].default]),
) as unknown as Settings;

/**
 * `base` overridden by what of `options` is not undefined, checked.
 * @param others names that belong to the caller and are passed over here
 */
export function readOptions(base: Settings, options: unknown, others: readonly string[] = []): Settings {
  const settings = { ...base };
  if (options === undefined) return settings;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new LockOptionError("options", show(options), "an object");
  }
  for (const [name, value] of Object.entries(options)) {
    if (others.includes(name) || (value === undefined && name in rules)) continue;
    const rule = Object.hasOwn(rules, name) && rules[name as keyof Settings];
    if (!rule) throw unknownOption(name, [...names, ...others]);
    const read = rule.read(value);
    if (read === undefined) throw new LockOptionError(name, show(value), rule.fits);
    Object.assign(settings, { [name]: read });
  }
  return settings;
}

/** Redis itself takes far longer keys; a longer name is more likely a mistake, such as a whole event. */
const maxKey = 1024;

/** A lock's name as the caller gave it, checked. */
export function readKey(key: unknown): string {
  if (typeof key === "string" && key.length > 0 && key.length <= maxKey) return key;
  const given = typeof key === "string" && key.length > maxKey ? `${key.length} characters` : show(key);
  throw new LockOptionError("key", given, `a string of 1 to ${maxKey} characters`);
}

/** Calls the listener; what it throws or rejects with changes nothing. */
export function emit(settings: Pick<Settings, "onEvent">, event: LockEvent): void {
  try {
    const result: unknown = settings.onEvent?.(event);
    if (result instanceof Promise) result.catch(() => {});
  } catch {}
}

function duration(fallback: number, least: number, most: number, range: string): Rule<number> {
  return {
    default: fallback,
    fits: `milliseconds or a text such as "500ms", "10s", "5m" or "1h", from ${range}`,
    read(value) {
      const ms = milliseconds(value);
      return ms !== undefined && ms >= least && ms <= most ? ms : undefined;
    },
  };
}

function oneOf<T extends string>(...choices: [T, ...T[]]): Rule<T> {
  return {
    default: choices[0],
    fits: choices.map((choice) => `"${choice}"`).join(" or "),
    read: (value) => choices.find((choice) => choice === value),
  };
}

function text(max: number) {
  return {
    fits: `a text of up to ${max} characters with no control characters`,
    read: (value: unknown) =>
      typeof value === "string" && value.length <= max && !/\p{Cc}/u.test(value) ? value : undefined,
  };
}

function isSignal(value: unknown): value is AbortSignal {
  const signal = value as Partial<AbortSignal> | null;
  return typeof signal === "object" && typeof signal?.aborted === "boolean" && "addEventListener" in signal;
}

/** An option nobody knows, with the nearest name that exists. */
export function unknownOption(name: string, known: readonly string[]): LockOptionError {
  const distances = known.map((candidate) => distance(name.toLowerCase(), candidate.toLowerCase()));
  const nearest = known[distances.indexOf(Math.min(...distances))];
  return new LockOptionError(
    name,
    "an unknown option",
    `one of ${known.join(", ")}; did you mean "${nearest}"?`,
  );
}

/** How many letters have to be put in, taken out or changed (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
