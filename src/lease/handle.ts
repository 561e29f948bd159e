import type { HandleTarget, LockHandle, Settings } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { defaults, readOptions } from "../options/lock-options.ts";
import { isWhole } from "../options/rules.ts";
import { readTargets, type Wanted } from "../options/targets.ts";
import type { Attempt, Claim } from "../protocol/attempt.ts";
import { kindOf } from "../protocol/state.ts";
import { forever } from "../runtime.ts";

/** By it Node, Deno and Bun print a value. */
const inspected = Symbol.for("nodejs.util.inspect.custom");

/**
 * A handle that a log shows by its key alone.
 * @param ttl the lease in ms that it was last asked for
 * @param unsettled the shortest lease in ms that a request on its way may yet set
 * @param windowLeft ms left for which a success keeps a lock
 */
export function newHandle(
  { key, claims, settings }: Attempt,
  about: {
    ttl: number;
    fence: number | undefined;
    unsettled: number;
    windowLeft: (claim: Claim) => number;
  },
): LockHandle {
  const { prefix, owner } = settings;
  const { ttl, fence, unsettled, windowLeft } = about;
  const [first, ...others] = claims as [Claim, ...Claim[]];
  const shared = { key, prefix, ttl, owner, fence, ...(unsettled < forever && { unsettled }) };
  const targets = claims.map((claim) => targetOf(claim, windowLeft(claim)));
  const handle =
    kindOf(first.mode) === "exclusive" && others.length === 0
      ? { ...shared, token: first.token, holdFor: windowLeft(first) }
      : { ...shared, token: claims.map(({ token }) => token).join(), targets };
  return inspectedAs(handle, () => `LockHandle { key: ${show(key)} }`);
}

function targetOf({ key, token, mode, weight }: Claim, holdFor: number): HandleTarget {
  const target = { key, token, holdFor };
  const kind = kindOf(mode);
  if (kind === "permit") return { ...target, limit: Number(mode), weight };
  return kind === "shared" ? { ...target, mode: kind } : target;
}

/** Says what a log shows of it. To be hidden is not enough: Bun prints hidden properties, and so does Node's `%o`. */
export function inspectedAs<T>(value: T, shown: () => unknown): T {
  return Object.defineProperty(value, inspected, { value: shown });
}

function withoutNulls<T extends object>(target: T): T {
  return Object.fromEntries(Object.entries(target).filter(([, value]) => value !== null)) as T;
}

const wholeToken = /^[0-9a-f]{32}$/;

/** What a handle says, checked. */
interface ReadHandle extends Pick<Settings, "prefix" | "ttl" | "owner"> {
  targets: readonly Wanted[];
  tokens: readonly string[];
  fence: number | undefined;
  unsettled: number;
}

/** Checks a handle; nothing of it is shown, since it holds a token. */
export function readHandle(handle: unknown): ReadHandle {
  try {
    const { key, prefix, token, ttl, owner, fence, unsettled, holdFor, targets } =
      typeof handle === "string" ? JSON.parse(handle) : handle;
    // A store may write undefined as null, and settings take an undefined one for a default.
    const read = { prefix, ttl, owner: owner ?? undefined };
    const settings = readOptions(defaults, read);
    const shortest = unsettled ?? forever;
    const same = Object.entries(read).every(([name, value]) => settings[name as keyof Settings] === value);
    const list: HandleTarget[] = targets?.map(withoutNulls) ?? [{ key, token, holdFor: holdFor ?? 0 }];
    const tokens = list.map((target) => target.token);
    const wanted = readTargets(list.map(({ token, ...target }) => target));
    if (
      same &&
      shortest > 0 &&
      tokens.every((each) => typeof each === "string" && wholeToken.test(each)) &&
      wanted.every((target, i) => target.holdFor === (list[i]?.holdFor ?? undefined)) &&
      isWhole(fence ?? 1, 1, Number.MAX_SAFE_INTEGER)
    )
      return { ...read, targets: wanted, tokens, fence: fence ?? undefined, unsettled: Number(shortest) };
  } catch {}
  throw new LockOptionError("handle", typeof handle, "what lock.toJSON() gave, or its JSON");
}
