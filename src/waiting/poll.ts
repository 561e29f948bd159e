import type { Claim } from "../protocol/claim.ts";
import { type Taken, take } from "../protocol/take.ts";
import type { Connection } from "../redis/connection.ts";
import { elapsed, type Moment, sleep } from "../time.ts";

/** How long a wait may go on, and what ends it early. */
export interface Wait {
  /** Counted from here. */
  started: Moment;
  ms: number;
  requestTimeout: number;
  signal: AbortSignal | undefined;
}

const longestPause = 1000;

/** Asks for a busy lock again and again, with jittered backoff, until it is held or the wait is over. */
export async function poll(connection: Connection, claim: Claim, wait: Wait, busy: Taken): Promise<Taken> {
  const { runtime } = connection;
  let taken = busy;
  for (let pause = 25; !taken.held; pause = Math.min(pause * 2, longestPause)) {
    const left = wait.ms - elapsed(wait.started, runtime.now());
    if (left <= 0) return taken;
    // Between half the pause and the whole of it, so that a crowd spreads but nobody hurries.
    await sleep(runtime, Math.min(left, pause * (0.5 + runtime.random() / 2)), wait.signal);
    taken = await take(connection, claim, wait.requestTimeout, wait.signal);
  }
  return taken;
}
