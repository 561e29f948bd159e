// What is locked: its name, and where it is in Redis.
import { LockOptionError, show } from "../errors.ts";
import { wellFormed } from "./rules.ts";

/** A cluster takes what is between the first "{" and the next "}" for a hash tag, unless nothing is there. */
export const emptyTag = /^[^{]*\{\}/;

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

/**
 * `<prefix>{<key>}` in Redis: the braces keep a lock's keys on one cluster slot. A key that begins with "}" would make
 * them empty, and empty ones do not count: it is at `<prefix>{:}<key>:`, which is no other key's place.
 */
export function redisKey(prefix: string, key: string): string {
  const usual = `${prefix}{${key}}`;
  return emptyTag.test(usual) ? `${prefix}{:}${key}:` : usual;
}
