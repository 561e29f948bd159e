import { emit } from "../options.ts";
import type { Claim, Taken } from "../protocol/claim.ts";
import { join } from "../protocol/join.ts";
import { channelOf } from "../protocol/queue.ts";
import { isFull, RefusedError } from "../redis/client.ts";
import { type Since, sleep, validity, within } from "../time.ts";
import { listen } from "./listen.ts";

/**
 * Stands in the queue until the lock is ours or the wait is over. A grant is published to us; that is only a
 * nudge, and asking now and then keeps our place and finds a grant whose message was lost. Once we stood there,
 * an outage does not end the wait.
 * @param sinceStart since the wait began
 */
export async function waitForTurn(claim: Claim, sinceStart: Since): Promise<Taken> {
  // In ms. They stand in here because esbuild writes out the value of a constant outside only before any import.
  /** A waiter asks at the latest after its stay in the queue less this: a request or two may be lost. */
  const margin = 2500;
  /** Without a stream it asks at least this often, as the first in the queue does. */
  const often = 1250;
  /** Behind a holder that does not know the queue, and so hands nothing over, the first waiter asks this often. */
  const oftenBehindForeigner = 150;
  /** How much of a grant has to be left for work to start under it. */
  const enough = 1000;
  /** By how much a grant is shorter where nobody was seen to listen: as in the scripts. */
  const shorter = 1500;
  const { connection, settings } = claim;
  const { runtime } = connection;
  const { wait, signal, fencing } = settings;
  const messages: (string | undefined)[] = [];
  let wake = () => {};
  /** The stream, while one is wanted. */
  let stream: AbortController | undefined;
  /** How often a request got no answer while there was a stream. */
  let starved = 0;
  /** Whether the server has confirmed the subscription, and the stream has not ended since. */
  let live = false;
  function open(): void {
    stream = new AbortController();
    const { signal } = stream;
    const hear = (message?: string) => {
      if (signal.aborted) return;
      live = message !== undefined;
      messages.push(message);
      wake();
    };
    listen(connection, channelOf(claim), hear, signal).catch(() => {});
  }
  let taken: Taken | undefined;
  try {
    for (;;) {
      try {
        // It is sent before the stream is opened, which may take the last connection that a process may have.
        const joining = join(claim, sinceStart);
        if (!stream && starved < 2) open();
        taken = await joining;
      } catch (error) {
        const left = wait - sinceStart();
        const lasting = error instanceof RefusedError && !isFull(error);
        if ((!taken && !stream) || left <= 0 || lasting || signal?.aborted) throw error;
        // Where the stream has the connection that a request needs, it gives way; after the second time for good.
        if (stream) {
          starved++;
          stream.abort();
          stream = undefined;
          live = false;
        }
        await sleep(runtime, Math.min(left, often * runtime.random()), signal);
        continue;
      }
      if (taken.held) return taken;
      const { ticket, holder, foreign, stay } = taken;
      const { place = 0 } = holder;
      const waited = sinceStart();
      emit(claim, { type: "waiting", ...holder, place, waited });

      /** Whether a grant may have been published that we could not hear. */
      let deaf = !live && place < 2;
      const pace = live ? stay - margin : often;
      let due = (foreign && !place ? oftenBehindForeigner : pace) * (1 - 0.4 * runtime.random());
      // A holder that died is followed as soon as its lease is over.
      if (!place && holder.retryAfter) due = Math.min(due, holder.retryAfter + 20);

      for (;;) {
        const left = wait - sinceStart();
        if (left <= 0) return taken;
        const dueIn = due - claim.since();
        if (dueIn <= 0) break;
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        if (!messages.length) await within(runtime, woken, Math.min(dueIn, left), undefined, signal);
        const message = messages.shift();
        // The stream ended, or it is time: whoever stood further back may be the first by now.
        if (message === undefined) deaf = true;
        // The stream has opened: now a grant would be heard.
        if (message === "" && deaf) break;
        // A message of an earlier stay in the queue is no grant: that one has ended.
        const mark = message?.at(-1);
        if (message === ticket + mark) {
          const lease = mark === "?" ? stay - shorter : stay;
          // A fencing token is drawn by asking.
          if (fencing || validity(lease) - claim.since() < enough) break;
          claim.contended = mark !== ":";
          return { held: true, lease };
        }
      }
    }
  } finally {
    // Ending a stream takes fetch up to a millisecond, which the work does not wait for.
    runtime.later(() => stream?.abort(), 0);
  }
}
