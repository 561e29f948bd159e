import { LockBusyError, LockUnavailableError } from "./errors.ts";
import { clearStragglers, HeldLock, type LockContext, unavailable } from "./lock.ts";
import { emit } from "./options.ts";
import { type Claim, leaseValue, lockKey } from "./protocol/claim.ts";
import { release } from "./protocol/release.ts";
import { take } from "./protocol/take.ts";
import { RefusedError, ReplyError } from "./redis/client.ts";
import { elapsed } from "./time.ts";
import { poll } from "./waiting/poll.ts";

/**
 * Takes the lock, waiting for it as long as the settings say. Rejects with
 * - `LockBusyError` when another holds it;
 * - `LockUnavailableError` when nothing is known (or resolves to a lock that is not held, for `"proceed"`);
 * - the reason of the `signal` option when that aborts.
 * What was asked for and given up is cleaned up behind it.
 */
export async function acquire(context: LockContext): Promise<HeldLock> {
  const { connection, settings, name } = context;
  const { signal } = settings;
  const { runtime } = connection;
  signal?.throwIfAborted();
  const started = runtime.now();
  const claim = newClaim(context);
  const waited = () => (settings.wait > 0 ? elapsed(started, runtime.now()) : 0);
  try {
    let taken = await take(claim, signal);
    if (!taken.held && settings.wait > 0) {
      emit(settings, { type: "waiting", key: name, ...known(taken.holder), waited: waited() });
      taken = await poll(claim, { started, ms: settings.wait, signal }, taken);
    }
    if (!taken.held) {
      const details = { ...known(taken.holder), waited: waited() };
      emit(settings, { type: "busy", key: name, ...details });
      clearStragglers(claim);
      throw new LockBusyError(name, details);
    }
    const lock = new HeldLock(context, claim, "held", taken);
    // A reply found on a late repetition leaves less than the lease: it is made whole before the work starts.
    if (lock.remaining < claim.ttl / 2 && !(await lock.extend()))
      throw new Error("the lease ended before its reply came");
    emit(settings, {
      type: "acquired",
      key: name,
      waited: waited(),
      ...(lock.fence && { fence: lock.fence }),
    });
    return lock;
  } catch (error) {
    if (error instanceof LockBusyError) throw error;
    abandon(context, claim, error);
    if (signal?.aborted) throw signal.reason;
    const failure = error instanceof LockUnavailableError ? error : unavailable(context, claim, error);
    if (settings.ifUnavailable === "proceed") return new HeldLock(context, claim, "unheld");
    throw failure;
  }
}

/** A claim with a token of its own, or with that of a lock taken elsewhere. */
export function newClaim(
  { connection, settings, name }: LockContext,
  token = connection.runtime.uuid(),
): Claim {
  const { ttl, owner, fencing, prefix, requestTimeout } = settings;
  const key = lockKey(prefix, name);
  const value = leaseValue(token, ttl, owner);
  return {
    connection,
    requestTimeout,
    key,
    value,
    token,
    owner,
    ttl,
    fencing,
    stragglers: [],
    since: undefined,
  };
}

/** An acquire that failed may have taken the lock all the same, now or later: it is released in the background. */
function abandon(context: LockContext, claim: Claim, error: unknown): void {
  const refused = error instanceof ReplyError || error instanceof RefusedError;
  if (!refused && !context.settings.signal?.aborted) {
    release(claim).catch(() => {});
  }
  clearStragglers(claim);
}

/** Only what is known, so that an event has no key with nothing in it. */
function known({ owner, retryAfter }: { owner: string | undefined; retryAfter: number | undefined }) {
  return { ...(owner !== undefined && { owner }), ...(retryAfter !== undefined && { retryAfter }) };
}
