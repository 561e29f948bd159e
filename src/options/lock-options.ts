import type { Settings } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { forever } from "../runtime.ts";
import {
  checkNames,
  duration,
  isFunction,
  isSignal,
  isWhole,
  oneOf,
  type Rule,
  rule,
  text,
} from "./rules.ts";
import { emptyTag } from "./targets.ts";

const renewFor = duration(0, "10ms", "31d");

// The one place for every option, its default and its check.
export const rules: { [Name in keyof Settings]: Rule<Settings[Name]> } = {
  ttl: duration(10_000, "10ms", "24h"),
  wait: duration(0, 0, "24h"),
  renew: {
    default: undefined,
    fits: `true or false, or ${renewFor.fits}`,
    // Infinity is what `locker.options` shows for true.
    read: (value) =>
      value === true || value === forever ? forever : value === false ? value : renewFor.read(value),
  },
  holdFor: duration(0, 0, "31d"),
  signal: rule(undefined, "an AbortSignal", isSignal),
  owner: text(undefined),
  fencing: oneOf<boolean>(false, true, false),
  replicas: rule(0, "a whole number from 0 to 100", (value) => isWhole(value, 0, 100)),
  ifUnavailable: oneOf("throw", "throw", "proceed"),
  // A cluster ignores an empty hash tag: the keys of one lock would lie on different nodes.
  prefix: text("lock:", " and no {}", emptyTag),
  requestTimeout: duration(2000, "10ms", "60s"),
  deadline: rule(
    undefined,
    "ms, or a function that tells them",
    (value) => isFunction(value) || (typeof value === "number" && value >= 0),
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
  checkNames(options, [...names, ...others]);
  const settings: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(options as object)) {
    if (others.includes(name) || value === undefined) continue;
    const { read, fits } = rules[name as keyof Settings];
    const setting = read(value);
    if (setting === undefined) throw new LockOptionError(name, show(value), fits);
    settings[name] = setting;
  }
  return settings as unknown as Settings;
}
