// What an option may be: rules that read a value, and say what fits.
import type { Duration } from "../api.ts";
import { LockOptionError, printable, show } from "../errors.ts";
import { milliseconds } from "./durations.ts";

export interface Rule<T> {
  default: T;
  fits: string;
  /** The setting a value makes, or undefined where it does not fit. */
  read(value: unknown): T | undefined;
}

export function rule<T>(fallback: T, fits: string, accepts: (value: unknown) => boolean): Rule<T> {
  return { default: fallback, fits, read: (value) => (accepts(value) ? (value as T) : undefined) };
}

export function duration(fallback: number, least: Duration, most: Duration): Rule<number> {
  return {
    default: fallback,
    fits: `ms or a text such as "500ms", "10s", from ${least} to ${most}`,
    read(value) {
      const ms = milliseconds(value);
      return ms >= milliseconds(least) && ms <= milliseconds(most) ? ms : undefined;
    },
  };
}

export function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

export function oneOf<T>(fallback: T, ...choices: T[]): Rule<T> {
  return rule(fallback, choices.map((choice) => JSON.stringify(choice)).join(" or "), (value) =>
    choices.includes(value as T),
  );
}

/** @param also what else is said of it, where `unfit` says what does not fit */
export function text<T>(fallback: T, also = "", unfit = /^\b$/): Rule<T> {
  return {
    default: fallback,
    fits: `a text of up to 200 characters, no control characters${also}`,
    read: (value) =>
      typeof value === "string" && printable(value) === value && value.length <= 200 && !unfit.test(value)
        ? (wellFormed(value) as T)
        : undefined,
  };
}

/** Checks that options are an object without other names than these. One that is undefined is none. @throws LockOptionError */
export function checkNames(options: unknown, names: readonly string[]): void {
  if (!isPlain(options)) throw new LockOptionError("options", show(options), "an object");
  for (const [name, value] of Object.entries(options))
    if (value !== undefined && !names.includes(name))
      throw new LockOptionError(name, "an unknown option", `one of ${names.join(", ")}`);
}

/** @throws LockOptionError */
export function checkFunction(name: string, value: unknown, fits = "a function"): void {
  if (!isFunction(value)) throw new LockOptionError(name, show(value), fits);
}

/** Checks a function that may be left out. @throws LockOptionError */
export function checkOptional(name: string, value: unknown): void {
  if (value !== undefined) checkFunction(name, value);
}

/** Whether a value may hold properties to read: no list, Map, promise, signal, date or other object with a class of its own. */
export function isPlain(value: unknown): value is object {
  return {}.toString.call(value) === "[object Object]";
}

export function isFunction(value: unknown): boolean {
  return typeof value === "function";
}

export function isSignal(value: unknown): boolean {
  const { aborted, addEventListener, throwIfAborted } = Object(value) as Partial<AbortSignal>;
  return typeof aborted === "boolean" && isFunction(addEventListener) && isFunction(throwIfAborted);
}

/** The text as it comes back from Redis: half a surrogate pair, as of a cut emoji, cannot go there. */
export function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udfff]/gu, "\ufffd");
}
