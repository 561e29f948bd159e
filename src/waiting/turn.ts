import { emit } from "../options.ts";
import type { Claim, Taken } from "../protocol/claim.ts";
import { join } from "../protocol/join.ts";
import { channelOf } from "../protocol/queue.ts";
import { elapsed, validity } from "../time.ts";
import { listen } from "./listen.ts";

/** How often a waiter asks, in ms: that seldom only far back in the queue, and while a stream is open to it. */
const often = 1000;
const seldom = 5000;
const perPlace = 200;

/** Behind a holder that does not know the queue, and so hands nothing over, the first waiter asks this often. */
const oftenBehindForeigner = 150;

/** How much of a grant has to be left for work to start under it, in ms. */
const enough = 1000;

/**
 * Stands in the queue until the lock is ours or the wait is over. A grant is published to us; that is only a
 * nudge, and asking now and then keeps our place and finds a grant whose message was lost.
 * @param started when the wait began
 */
export async function waitForTurn(claim: Claim, started: { wall: number; mono: number }): Promise<Taken> {
  const { connection, settings } = claim;
  const { runtime } = connection;
  const { wait, signal, fencing } = settings;
  const listener = listen(connection, channelOf(claim));
  const left = () => wait - elapsed(runtime, started);
  let pace = often;
  let place: number | undefined;
  try {
    for (;;) {
      // Longer than until the next time we ask, by enough for two lost requests.
      const stay = Math.ceil(pace * 1.25 + 2 * enough + 500);
      const taken = await join(claim, stay);
      if (taken.held) return taken;
      if (taken.place !== place)
        emit(claim, { type: "waiting", ...taken.holder, place: taken.place, waited: wait - left() });
      place = taken.place;
      pace = listener.live ? Math.min(seldom, Math.max(often, place * perPlace)) : often;
      const confirmed = listener.live;

      let due = pace * (0.75 + runtime.random() / 2);
      if (place === 0 && taken.foreign) due = oftenBehindForeigner * (0.75 + runtime.random() / 2);
      // A holder that died is followed as soon as its lease is over.
      if (place === 0) due = Math.min(due, (taken.holder.retryAfter ?? due) + 20);

      for (;;) {
        const pause = Math.min(due - elapsed(runtime, claim.since), left());
        const message = await listener.next(Math.max(0, pause), signal);
        if (left() <= 0) return taken;
        if (message === undefined) break;
        // The stream opened after our place was taken: a grant may have been published before.
        if (message === "" && !confirmed && place < 2) break;
        // A message of an earlier stay in the queue is no grant: that one has ended.
        if (!message || message.slice(0, -1) !== taken.ticket) continue;
        // A fencing token is drawn by asking.
        if (fencing || validity(stay) - elapsed(runtime, claim.since) < enough) break;
        claim.contended = message.endsWith("!");
        return { held: true, lease: stay };
      }
    }
  } finally {
    listener.close();
  }
}
