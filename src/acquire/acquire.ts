import type { Lock } from "../api.ts";
import { LockBusyError, LockUnavailableError } from "../errors.ts";
import { emit } from "../events.ts";
import { type Held, holdLock, unheldLock } from "../lease/held-lock.ts";
import { followAbandoned, giveUp, leaveQueue } from "../protocol/abandon.ts";
import type { Attempt } from "../protocol/attempt.ts";
import { type Outcome, takesResult } from "../protocol/protocol.ts";
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
  signal?.throwIfAborted();
  emit(attempt, { type: "asked" });
  const waited = () => (wait > 0 ? age() : 0);
  /** Whether we may stand in a queue. */
  let queued = wait > 0 && attempt.claims.some(takesResult);
  let outcome: Outcome;
  let held: Held | undefined;
  try {
    outcome = await tryLock(attempt);
    if (!outcome.held && outcome.result === undefined && wait > 0) {
      queued = true;
      outcome = await waitForAll(attempt, outcome);
    }
    if (outcome.held) {
      held = holdLock(attempt, outcome, queued);
      const { lock } = held;
      const { fence, handedOver } = outcome;
      // The work starts under a grant at once. Unless it is renewed anyway, the full lease is taken beside it.
      const lease = attempt.leaseNow();
      if (handedOver && !settings.renew) lock.extend(lease).catch(() => {});
      // A reply found on a late repetition leaves less than the lease: it is made whole before the work starts.
      if (!handedOver && lock.remaining < lease / 2 && !(await lock.extend(lease)))
        throw new Error("its lease ended before the reply");
      emit(attempt, { type: "acquired", took: age(), waited: waited(), granted: handedOver, fence });
      return held;
    }
  } catch (error) {
    // It may have been taken all the same, now or later, even by a script that was refused half-way.
    attempt.background(held ? held.lock.release({ failed: true }) : giveUp(attempt, queued));
    followAbandoned(attempt, queued);
    if (signal?.aborted) {
      emit(attempt, { type: "aborted", took: age() });
      throw signal.reason;
    }
    const failure =
      error instanceof LockUnavailableError ? error : unavailable(attempt, error, "acquire", age);
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
  const details = { ...outcome.holder, place: outcome.queued?.place, waited: waited() };
  emit(attempt, { type: "busy", ...details, took: age() });
  throw new LockBusyError(outcome.claim.key, details);
}
