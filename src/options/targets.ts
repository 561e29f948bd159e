// What is locked: targets as the caller gives them, and where their locks are in Redis.
import type { Targets } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { checkNames, duration, isPlain, isWhole, type Rule, wellFormed } from "./rules.ts";

/** A target, checked. */
export interface Wanted {
  readonly key: string;
  /** `x` for exclusive, `s` for shared; the limit for a permit. */
  readonly mode: string;
  /** How many of the permits. 1 for the other modes. */
  readonly weight: number;
  /** Its own `holdFor` in ms. */
  readonly holdFor: number | undefined;
}

/** A cluster takes what is between the first "{" and the next "}" for a hash tag, unless nothing is there. */
export const emptyTag = /^[^{]*\{\}/;

/** A key made of a value that was not there, which many locks would share by mistake. */
const madeOfNothing = /\[object Object\]|(^|[:/|@#\s])(undefined|NaN)($|[:/|@#\s])/;

const most = { targets: 16, limit: 100_000 };
const holdFor = duration(0, 0, "31d");

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

/**
 * One target or several, checked, in the order given.
 * @throws LockOptionError
 */
export function readTargets(targets: Targets | unknown): Wanted[] {
  // A hole in an array is an undefined target.
  const list: readonly unknown[] = Array.isArray(targets) ? [...targets] : [targets];
  if (list.length < 1 || list.length > most.targets)
    throw new LockOptionError("key", `${list.length} targets`, `1 to ${most.targets}`);
  const wanted = list.map(readTarget);
  const keys = new Set<string>();
  for (const { key } of wanted) {
    if (keys.has(key)) throw new LockOptionError("key", `${show(key)} twice`, "each key once");
    keys.add(key);
  }
  return wanted;
}

function readTarget(target: unknown): Wanted {
  if (!isPlain(target)) return { key: readKey(target), mode: "x", weight: 1, holdFor: undefined };
  const { key, mode = "exclusive", limit, weight, holdFor: window } = target as Record<string, unknown>;
  const wanted = { key: readKey(key), holdFor: read("holdFor", holdFor, window) };
  checkNames(target, ["key", "mode", "limit", "weight", "holdFor"]);
  if (mode !== "exclusive" && mode !== "shared")
    throw new LockOptionError("mode", show(mode), '"exclusive" or "shared"');
  if (limit === undefined) {
    if (weight !== undefined) throw new LockOptionError("weight", show(weight), "none without a limit");
    return { ...wanted, mode: mode === "shared" ? "s" : "x", weight: 1 };
  }
  if ((target as { mode?: unknown }).mode !== undefined)
    throw new LockOptionError("mode", show(mode), "none with a limit");
  const permits = whole("limit", limit, most.limit);
  return { ...wanted, mode: `${permits}`, weight: whole("weight", weight ?? 1, permits, "the limit") };
}

/** A whole number from 1 on, checked. */
export function whole(option: string, value: unknown, largest: number, name?: string): number {
  if (isWhole(value, 1, largest)) return value;
  const end = name ? `${name} (${largest})` : largest;
  throw new LockOptionError(option, show(value), `a whole number from 1 to ${end}`);
}

function read<T>(option: string, rule: Rule<T>, value: unknown): T | undefined {
  if (value === undefined) return undefined;
  const setting = rule.read(value);
  if (setting === undefined) throw new LockOptionError(option, show(value), rule.fits);
  return setting;
}

/** What all of them are called together. */
export function joinKeys(keys: readonly string[]): string {
  return keys.join(", ");
}

/**
 * `<prefix>{<key>}` in Redis: the braces keep a lock's keys on one cluster slot. A key that begins with "}" would make
 * them empty, and empty ones do not count: it is at `<prefix>{:}<key>:`, which is no other key's place.
 */
export function redisKey(prefix: string, key: string): string {
  const usual = `${prefix}{${key}}`;
  return emptyTag.test(usual) ? `${prefix}{:}${key}:` : usual;
}
