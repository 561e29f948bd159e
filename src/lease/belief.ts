import { validity } from "../options/durations.ts";
import { forever, type Since } from "../runtime.ts";

/** What a holder may rely on. It changes by what requests are sent and answered, and by nothing else. */
export interface Belief {
  /** The lease in ms. */
  readonly lease: number;
  /** Ms since it began, at the earliest. */
  readonly since: Since;
  /** The shortest lease in ms that a request of unknown fate may yet set. */
  readonly unsettled: number;
}

export function newBelief(lease: number, since: Since, unsettled = forever): Belief {
  return { lease, since, unsettled };
}

/** Ms for which the lease can be relied on; 0 or less once it is over. */
export function leaseLeft({ lease, since }: Belief): number {
  return validity(lease) - since();
}

/** Once an extension to `ttl` ms is sent: from then on the lease may be that one, and a longer one is not relied on. */
export function onAsking(belief: Belief, ttl: number, now: Since): Belief {
  const unsettled = Math.min(belief.unsettled, ttl);
  return validity(ttl) < leaseLeft(belief) ? { lease: ttl, since: now, unsettled } : { ...belief, unsettled };
}

/**
 * Once an extension to `ttl` ms was answered with success.
 * @param before what was believed before it was sent
 * @param answer when the answered request was sent, and whether it may have been executed before: then a straggler of
 * it may yet set its lease over a longer one
 */
export function onExtended(before: Belief, ttl: number, answer: { since: Since; repeated: boolean }): Belief {
  const { unsettled } = before;
  return {
    lease: Math.min(ttl, unsettled),
    since: answer.since,
    unsettled: answer.repeated ? Math.min(unsettled, ttl) : unsettled,
  };
}
