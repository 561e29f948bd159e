import type { ChainableCommander } from "ioredis";
import type { Claim } from "../log.ts";
import { now } from "../log.ts";
import type { Attempt, Held, Holder } from "./library.ts";

// What redis-semaphore's and effect-distributed-lock's permits have in common: a sorted set of holders, whose scores are
// their clients' times.

export const readSet = (commands: ChainableCommander, key: string): unknown => commands.zrange(key, 0, -1);

/** Its members are `<holder>_<number of the permit>`. */
export function holdersOfSet(members: unknown): Holder[] {
  if (!Array.isArray(members)) return [];
  const ids = new Set(members.map((member: string) => member.replace(/_\d+$/, "")));
  return [...ids].map((id) => ({ id }));
}

export function permitOf({ claims }: Attempt): { key: string; limit: number; weight: number } {
  const { key, limit = 1, weight } = claims[0] as Claim;
  return { key, limit, weight };
}

/** What its user may rely on: one lease from when it was taken; of one that is renewed, whether it is held still. */
export function relyOn({ ttl, renew }: Attempt, isHeld: () => boolean): Pick<Held, "aborted" | "sure"> {
  const since = now();
  const sure = () => {
    if (!isHeld()) return 0;
    const left = since + ttl - now();
    return renew ? Math.max(left, 0.001) : left;
  };
  return { aborted: () => sure() <= 0, sure };
}
