import type { Claim } from "../protocol/claim.ts";
import { type Taken, take } from "../protocol/take.ts";
import { elapsed, type Moment, sleep } from "../time.ts";

const longestPause = 1000;

/** Asks for a busy lock again and again, with jittered backoff, until it is held or the wait is over. */
export async function poll(claim: Claim, started: Moment, busy: Taken): Promise<Taken> {
  const { runtime } = claim.connection;
  const { wait, signal } = claim.settings;
  let taken = busy;
  for (let pause = 25; !taken.held; pause = Math.min(pause * 2, longestPause)) {
    const left = wait - elapsed(runtime, started);
    if (left <= 0) return taken;
    // Between half the pause and the whole of it, so that a crowd spreads but nobody hurries.
    await sleep(runtime, Math.min(left, pause * (0.5 + runtime.random() / 2)), signal);
    taken = await take(claim);
  }
  return taken;
}
