import type { Attempt, Claim, Part } from "./attempt.ts";
import { dequeue, release } from "./release.ts";

/** Leaves the queue after a wait. Each of its requests was answered, or is among the abandoned ones. */
export function leaveQueue(attempt: Attempt): Promise<boolean> {
  return dequeue(attempt, attempt.claims, attempt.abandoned.length > 0 ? longestWay(attempt) : 0);
}

/**
 * Ends an attempt whose last request failed: leaves the queue, and lets go of what it may have taken.
 * @param queued whether it may stand in a queue
 */
export function giveUp(attempt: Attempt, queued: boolean): Promise<boolean> {
  if (!queued) return release(attempt, attempt.claims.map(untouched));
  // What failed of itself may yet be executed.
  return attempt.settings.signal?.aborted
    ? leaveQueue(attempt)
    : dequeue(attempt, attempt.claims, longestWay(attempt));
}

/** Follows each request to take the lock that was given up by a release, in the background. */
export function followAbandoned(attempt: Attempt, queued: boolean): void {
  const { claims } = attempt;
  for (const request of attempt.abandoned.splice(0))
    attempt.background(
      request.then(() => (queued ? dequeue(attempt, claims, 0) : release(attempt, claims.map(untouched)))),
    );
}

/** A lock as it is just after it was taken. */
function untouched(claim: Claim): Part {
  return { claim, value: claim.value };
}

/** How long a request of ours may be on its way, in ms, and a tombstone stays for it. */
function longestWay({ settings }: Attempt): number {
  return 4 * settings.requestTimeout;
}
