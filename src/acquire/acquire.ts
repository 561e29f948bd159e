import type { Lock } from "../api.ts";
import { LockBusyError, LockLostError } from "../errors.ts";
import { emit } from "../events.ts";
import { leaseLeft, newBelief, onExtended } from "../lease/belief.ts";
import { type Held, holdLock, unheldLock } from "../lease/held-lock.ts";
import { followAbandoned, giveUp, leaveQueue } from "../protocol/abandon.ts";
import type { Attempt } from "../protocol/attempt.ts";
import { extend } from "../protocol/extend.ts";
import { endedByOperator, type Grant, gone, type Outcome, takesResult } from "../protocol/protocol.ts";
import { tryLock } from "../protocol/try-lock.ts";
import { unavailable } from "../unavailable.ts";
import { waitForAll } from "./several.ts";

/** Takes what is asked for: `acquireHeld` says how it may end. */
export async function acquire(attempt: Attempt): Promise<Lock> {
  return ((await acquireHeld(attempt)) as Held).lock;
}

/**
 * Takes what is asked for, waiting for it as long as the settings say. Rejects with
 * - `LockBusyError` when another holds it;
 * - `LockUnavailableError` when nothing is known (or resolves to a lock that is not held, for `"proceed"`);
 * - the reason of the `signal` option when that aborts.
 * What was asked for and given up is cleaned up behind it.
 * A claim that takes a result may get that in the lock's place.
 */
export async function acquireHeld(attempt: Attempt): Promise<Held | { result: string }> {
  const { age, settings } = attempt;
  const { signal, wait } = settings;
  emit(attempt, { type: "asked" });
  const onAborted = () => {
    emit(attempt, { type: "aborted", took: age() });
    throw signal?.reason;
  };
  if (signal?.aborted) onAborted();
  /** Whether it was not to be had at once. */
  let wasBusy = false;
  const waited = () => (wasBusy ? age() : 0);
  /** Whether we may stand in a queue. */
  let queued = wait > 0 && attempt.claims.some(takesResult);
  let outcome: Outcome | undefined;
  try {
    do {
      outcome = await tryLock(attempt);
      if (!outcome.held && outcome.result === undefined && wait > 0) {
        queued = true;
        wasBusy = true;
        outcome = await waitForAll(attempt, outcome);
      }
      // Who was ended before it knew of its lock waits for it again. That it was busy with itself says nothing.
      if (outcome.held) outcome = await madeWhole(attempt, outcome);
      else if (outcome.ended) outcome = undefined;
    } while (!outcome && age() < wait);
    if (!outcome) throw new LockLostError(attempt.key, endedByOperator);
    if (outcome.held) {
      const held = holdLock(attempt, outcome, queued);
      const { fence, handedOver } = outcome;
      // The work starts under a grant at once. Unless it is renewed anyway, the full lease is taken beside it.
      if (handedOver && !settings.renew && !settings.replicas)
        held.lock.extend(attempt.leaseNow()).catch(() => {});
      emit(attempt, { type: "acquired", took: age(), waited: waited(), granted: handedOver, fence });
      return held;
    }
  } catch (error) {
    // It may have been taken all the same, now or later, even by a script that was refused half-way.
    attempt.background(giveUp(attempt, queued));
    followAbandoned(attempt, queued);
    if (signal?.aborted) onAborted();
    const failure = unavailable(attempt, error, "acquire", age);
    if (settings.ifUnavailable === "proceed") return unheldLock(attempt);
    throw failure;
  }
  if (outcome.result !== undefined) {
    // Who is told a result stands in no queue any more.
    followAbandoned(attempt, queued);
    return { result: outcome.result };
  }
  // Whoever waits behind us should not wait for us; a grant that came too late is passed on.
  if (queued) await leaveQueue(attempt).catch(() => {});
  followAbandoned(attempt, queued);
  const { holder, queued: stay } = outcome;
  const retryAfter = holder.retryAfter && Math.ceil(Math.max(1, holder.retryAfter - (stay?.since() ?? 0)));
  const details = { ...holder, retryAfter, place: stay?.place, waited: waited() };
  emit(attempt, { type: "busy", ...details, took: age() });
  throw new LockBusyError(outcome.claim.key, details);
}

/**
 * Starts the lease anew before the work is, where that has to be: a reply that was found on a late repetition leaves less
 * than the lease, and replicas have to confirm what was handed over or found. Undefined if an operator ended it meanwhile.
 */
async function madeWhole(attempt: Attempt, grant: Grant): Promise<Grant | undefined> {
  const { replicas, signal } = attempt.settings;
  const ttl = attempt.leaseNow();
  const before = newBelief(grant.lease, grant.since, grant.unsettled);
  const late = !grant.handedOver && leaseLeft(before) < ttl / 2;
  if (!late && (replicas === 0 || grant.confirmed)) return grant;
  if (leaseLeft(before) > 0) {
    const extension = await extend(attempt, grant.parts, ttl);
    signal?.throwIfAborted();
    if (extension === endedByOperator) return undefined;
    if (extension !== gone) {
      const after = onExtended(before, ttl, extension);
      if (leaseLeft(after) > 0) return { ...grant, ...after, parts: extension.parts };
    }
  }
  throw new Error("its lease ended before the reply");
}
