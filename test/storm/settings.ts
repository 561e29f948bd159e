import type { Claim } from "./log.ts";
import type { Random } from "./random.ts";

/**
 * What the locks of a storm are: exclusive ones; permits; all kinds, several keys at once among them; those of work whose
 * result others get.
 */
export const kindNames = ["exclusive", "permits", "mixed", "results"] as const;
export type Kinds = (typeof kindNames)[number];

/** The leases that are asked for, in ms: short, so that a storm sees many end. Others' permits differ in theirs. */
export function leases(kinds: Kinds): { shortest: number; longest: number } {
  return kinds === "exclusive" ? { shortest: 1500, longest: 3000 } : { shortest: 800, longest: 5000 };
}

const named = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name}-${i}`);

const exclusive = [...named("plain", 10), ...named("fenced", 10)];
const permits = named("permits", 6);
const mixed = [...named("plain", 4), ...named("fenced", 5), ...named("shared", 4), ...permits.slice(0, 4)];

const results = [...named("result", 4), ...named("fenced", 4)];

/** The longest that a result is kept, in ms. */
export const longestKept = 1500;

/** All keys of a storm. */
export function keysOf(kinds: Kinds): string[] {
  return { exclusive, permits, mixed, results }[kinds];
}

/** What one attempt asks for: one key, or of mixed kinds now and then two or three. */
export function pickClaims(kinds: Kinds, random: Random): Claim[] {
  const keys = keysOf(kinds);
  const first = random.pick(keys);
  if (kinds !== "mixed" || !random.chance(0.25)) return [claimOf(first, kinds, random)];
  // A fencing token is drawn for all of them or none.
  const others = keys.filter((key) => isFenced(key) === isFenced(first));
  const picked = new Set([first, random.pick(others), random.pick(others)]);
  return [...picked].map((key) => claimOf(key, kinds, random));
}

function claimOf(key: string, kinds: Kinds, random: Random): Claim {
  const [kind, number] = key.split("-");
  if (kind === "shared" && random.chance(0.8)) return { key, mode: "shared", weight: 1 };
  // Of mixed kinds somebody wants all of it, now and then.
  if (kind !== "permits" || (kinds === "mixed" && random.chance(0.05)))
    return { key, mode: "exclusive", weight: 1 };
  const limit = 1 + Number(number);
  return { key, mode: "permit", limit, weight: Math.ceil(random.next() ** 2 * limit) || 1 };
}

/** Whether a lock is taken with a fencing token, where the library draws any. */
export function isFenced(key: string): boolean {
  return key.startsWith("fenced");
}
