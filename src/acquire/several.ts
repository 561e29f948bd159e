import { LockLostError } from "../errors.ts";
import { leaseLeft, newBelief } from "../lease/belief.ts";
import { createLease, type Lease } from "../lease/renewal.ts";
import type { Attempt, Claim } from "../protocol/attempt.ts";
import { extend } from "../protocol/extend.ts";
import { join } from "../protocol/join.ts";
import { type Grant, gone, type Outcome, takesResult } from "../protocol/protocol.ts";
import { pollForeignEvery } from "../protocol/timing.ts";
import { forever, sleep, whenAborted } from "../runtime.ts";
import { waitForTurn } from "./wait.ts";

/**
 * Waits for all locks of the attempt. Of several, one after another in the order of their names, so that no two can
 * wait for each other; what it has is renewed meanwhile, and whatever is left is taken by one request once it is free.
 * It cleans up nothing: whoever asked lets go of all claims if it fails.
 * @param first what came of asking; who takes a result stands in the queue by it
 */
export async function waitForAll(attempt: Attempt, first: Outcome): Promise<Outcome> {
  const [only, ...others] = attempt.claims as [Claim, ...Claim[]];
  if (others.length === 0) return waitForTurn(attempt, only, takesResult(only) ? first : undefined);
  return waitInOrder(attempt, forever);
}

/**
 * It waits anew if one that it had was lost: an operator or a hand took it, or this process was frozen.
 * @param unsettled the shortest lease in ms that a request of before may yet set
 */
async function waitInOrder(attempt: Attempt, unsettled: number): Promise<Outcome> {
  const abort = new AbortController();
  const { signal } = attempt.settings;
  const forget = whenAborted(signal, () => abort.abort(signal?.reason));
  // A token for each lock alone is of no use: one for all is drawn in the end.
  const waiting = { ...attempt, settings: { ...attempt.settings, signal: abort.signal, fencing: false } };
  let lease: Lease | undefined;
  try {
    let rest = attempt.claims.toSorted((a, b) => (a.redisKey < b.redisKey ? -1 : 1));
    while (rest.length > 0) {
      const [first, ...later] = rest as [Claim, ...Claim[]];
      // The first is waited for. Behind it may be free what was not before.
      const outcome = await waitForTurn(waiting, first);
      if (!outcome.held) return outcome;
      lease = hold(waiting, { before: lease, unsettled, grant: outcome, abort });
      if (later.length === 0) break;
      const more = await join(waiting, later);
      rest = more.held ? [] : later;
      if (more.held) lease = hold(waiting, { before: lease, unsettled, grant: more, abort });
    }
    abort.signal.throwIfAborted();
    if (!attempt.settings.fencing) return grantOf(lease as Lease);
    const fenced = await join(attempt, attempt.claims);
    // A renewal that is on its way may yet set its lease.
    if (fenced.held) return { ...fenced, unsettled: lease?.belief().unsettled };
    // It was ours. That says nothing of the wait.
    throw new LockLostError(attempt.key, gone);
  } catch (error) {
    const lost = error instanceof LockLostError && !signal?.aborted;
    if (!lost || attempt.age() >= attempt.settings.wait) throw error;
    // A lease shorter than a round trip is lost again and again.
    await sleep(attempt.connection.runtime, pollForeignEvery, signal);
  } finally {
    lease?.end();
    forget();
  }
  // Nothing is released before: a late release would find the same tokens. So may a late renewal.
  return waitInOrder(attempt, (lease as Lease).belief().unsettled);
}

interface Holding {
  before: Lease | undefined;
  /** The shortest lease in ms that a request may yet set which is older than all of these. */
  unsettled: number;
  grant: Grant;
  abort: AbortController;
}

/** Renews what is held so far, until more has come. The lease of the one that ends first is that of all. */
function hold(attempt: Attempt, { before, unsettled: older, grant, abort }: Holding): Lease {
  const fresh = newBelief(Math.min(grant.lease, older), grant.since, older);
  const held = before?.belief() ?? fresh;
  const sooner = leaseLeft(held) < leaseLeft(fresh) ? held : fresh;
  before?.end();
  // Until all are ours, nothing was acquired that could be renewed.
  const quiet = { ...attempt, settings: { ...attempt.settings, onEvent: undefined } };
  const all = createLease(quiet, {
    status: "held",
    parts: [...(before?.parts() ?? []), ...grant.parts],
    belief: { ...sooner, unsettled: held.unsettled },
    renewFor: forever,
    renewal: extend,
    onLost: (error: LockLostError) => abort.abort(error),
  });
  all.start();
  return all;
}

function grantOf(held: Lease): Grant {
  return { held: true, ...held.belief(), parts: held.parts(), handedOver: false, fence: undefined };
}
