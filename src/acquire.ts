import { LockBusyError, LockUnavailableError } from "./errors.ts";
import { clearStragglers, type HeldLock, holdLock, unavailable } from "./lock.ts";
import { emit } from "./options.ts";
import type { Claim } from "./protocol/claim.ts";
import { release } from "./protocol/release.ts";
import { type Taken, take } from "./protocol/take.ts";
import { RefusedError } from "./redis/client.ts";
import { elapsed } from "./time.ts";
import { poll } from "./waiting/poll.ts";

/**
 * Takes the lock, waiting for it as long as the settings say. Rejects with
 * - `LockBusyError` when another holds it;
 * - `LockUnavailableError` when nothing is known (or resolves to a lock that is not held, for `"proceed"`);
 * - the reason of the `signal` option when that aborts.
 * What was asked for and given up is cleaned up behind it.
 */
export async function acquire(claim: Claim): Promise<HeldLock> {
  const { settings, name } = claim;
  const { runtime } = claim.connection;
  const { signal, wait } = settings;
  signal?.throwIfAborted();
  const started = claim.since;
  const waited = () => (wait > 0 ? elapsed(runtime, started) : 0);
  let taken: Taken;
  let lock: HeldLock | undefined;
  try {
    taken = await take(claim);
    if (!taken.held && wait > 0) {
      emit(claim, { type: "waiting", ...taken.holder, waited: waited() });
      taken = await poll(claim, started, taken);
    }
    if (taken.held) {
      lock = holdLock(claim, "held", taken.fence);
      // A reply found on a late repetition leaves less than the lease: it is made whole before the work starts.
      if (lock.remaining < settings.ttl / 2 && !(await lock.extend()))
        throw new Error("its lease ended before the reply");
      emit(claim, { type: "acquired", waited: waited(), fence: lock.fence });
      return lock;
    }
  } catch (error) {
    // It may have been taken all the same, now or later: it is released in the background.
    if (!(error instanceof RefusedError)) (lock?.end(false) ?? release(claim)).catch(() => {});
    clearStragglers(claim);
    if (signal?.aborted) throw signal.reason;
    const failure = error instanceof LockUnavailableError ? error : unavailable(claim, error);
    if (settings.ifUnavailable === "proceed") return holdLock(claim, "unheld");
    throw failure;
  }
  clearStragglers(claim);
  const details = { ...taken.holder, waited: waited() };
  emit(claim, { type: "busy", ...details });
  throw new LockBusyError(name, details);
}
