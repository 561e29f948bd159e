import type { Attempt } from "./attempt.ts";
import { dequeue, release } from "./release.ts";

/** Leaves the queue after a wait. Each of its requests was answered, or is among the abandoned ones. */
export function leaveQueue(attempt: Attempt): Promise<boolean> {
  return dequeue(attempt, attempt.abandoned.length > 0 ? longestWay(attempt) : 0);
}

/**
 * Ends an attempt whose last request failed: leaves the queue, and lets go of what it may have taken.
 * @param queued whether it may stand in the queue
 */
export function giveUp(attempt: Attempt, queued: boolean): Promise<boolean> {
  if (!queued) return release(attempt);
  // What failed of itself may yet be executed.
  return attempt.settings.signal?.aborted ? leaveQueue(attempt) : dequeue(attempt, longestWay(attempt));
}

/** Follows each request to take the lock that was given up by a release, in the background. */
export function followAbandoned(attempt: Attempt, queued: boolean): void {
  for (const request of attempt.abandoned.splice(0))
    attempt.background(request.then(() => (queued ? dequeue(attempt, 0) : release(attempt))));
}

/** How long a request of ours may be on its way, in ms, and a tombstone stays for it. */
function longestWay({ settings }: Attempt): number {
  return 4 * settings.requestTimeout;
}
