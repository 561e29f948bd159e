import { LockBusyError, LockUnavailableError } from "./errors.ts";
import { clearStragglers, holdLock, type Lock, unavailable } from "./lock.ts";
import { emit } from "./options.ts";
import type { Claim, Taken } from "./protocol/claim.ts";
import { release } from "./protocol/release.ts";
import { take } from "./protocol/take.ts";
import { waitForTurn } from "./waiting/turn.ts";

/**
 * Takes the lock, waiting for it as long as the settings say. Rejects with
 * - `LockBusyError` when another holds it;
 * - `LockUnavailableError` when nothing is known (or resolves to a lock that is not held, for `"proceed"`);
 * - the reason of the `signal` option when that aborts.
 * What was asked for and given up is cleaned up behind it.
 */
export async function acquire(claim: Claim): Promise<Lock> {
  const { settings, name } = claim;
  const { signal, wait } = settings;
  signal?.throwIfAborted();
  const sinceStart = claim.since;
  const waited = () => (wait > 0 ? sinceStart() : 0);
  let taken: Taken;
  let lock: Lock | undefined;
  try {
    taken = await take(claim);
    if (!taken.held && wait > 0) taken = await waitForTurn(claim, sinceStart);
    if (taken.held) {
      lock = holdLock(claim, "held", taken);
      // The work starts under a grant at once; unless it is renewed anyway, the full lease is taken beside it.
      if (taken.lease && !settings.renew) lock.extend().catch(() => {});
      // A reply found on a late repetition leaves less than the lease: it is made whole before the work starts.
      if (!taken.lease && lock.remaining < settings.ttl / 2 && !(await lock.extend()))
        throw new Error("its lease ended before the reply");
      emit(claim, {
        type: "acquired",
        waited: waited(),
        granted: taken.lease !== undefined,
        fence: lock.fence,
      });
      return lock;
    }
  } catch (error) {
    // It may have been taken all the same, now or later, even by a script that was refused half-way: it is released
    // in the background.
    const late = claim.asker.stragglers.length > 0 || !signal?.aborted;
    claim.background(lock?.release({ failed: true }) ?? release(claim, late, true));
    clearStragglers(claim);
    if (signal?.aborted) throw signal.reason;
    const failure = error instanceof LockUnavailableError ? error : unavailable(claim, error);
    if (settings.ifUnavailable === "proceed") return holdLock(claim, "unheld");
    throw failure;
  }
  // Whoever waits behind us should not wait for us; a grant that came too late is passed on.
  if (claim.standing) await release(claim, undefined, true).catch(() => {});
  clearStragglers(claim);
  const details = { ...taken.holder, waited: waited() };
  emit(claim, { type: "busy", ...details });
  throw new LockBusyError(name, details);
}
