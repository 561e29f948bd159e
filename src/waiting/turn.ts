import { emit } from "../options.ts";
import { type Claim, channelOf, type Queued, type Taken } from "../protocol/claim.ts";
import { join } from "../protocol/join.ts";
import { shortOwner } from "../protocol/state.ts";
import {
  fastestHandOver,
  lostRequestMargin,
  minUsableGrant,
  pollEvery,
  pollForeignEvery,
  pollJitter,
  unheardCut,
} from "../protocol/timing.ts";
import { isFull, RefusedError } from "../redis/client.ts";
import { type Since, sleep, validity, within } from "../time.ts";
import { listen } from "./listen.ts";

/** What a waiter hears: a message, "" once a subscription is confirmed, undefined when its stream has ended. */
type Heard = string | undefined;

/** What came over the stream and was not looked at yet. */
interface Inbox {
  readonly heard: Heard[];
  /** Whether the server has confirmed the subscription, and the stream has not ended since. */
  subscribed: boolean;
  /** Called when something comes. */
  wake(): void;
}

/**
 * Stands in the queue until the lock is ours or the wait is over. A grant is published to us; that is only a
 * nudge, and asking now and then keeps our place and finds a grant whose message was lost. Once we stood there,
 * an outage does not end the wait.
 * @param sinceStart since the wait began
 */
export async function waitForTurn(claim: Claim, sinceStart: Since): Promise<Taken> {
  const { runtime } = claim.connection;
  const { wait, signal } = claim.settings;
  const left = () => wait - sinceStart();
  const inbox: Inbox = { heard: [], subscribed: false, wake() {} };
  /** Ends the stream, while there is one. */
  let endStream: (() => void) | undefined;
  /** How often a request got no answer while there was a stream. */
  let starved = 0;
  let taken: Taken | undefined;
  try {
    for (;;) {
      const subscribed = inbox.subscribed;
      try {
        // It is sent before the stream is opened, which may take the last connection that a process may have.
        const joining = join(claim, sinceStart);
        if (starved < 2) endStream ??= openStream(claim, inbox);
        taken = await joining;
      } catch (error) {
        const lasting = error instanceof RefusedError && !isFull(error);
        if ((!taken && !endStream) || left() <= 0 || lasting || signal?.aborted) throw error;
        // Where the stream has the connection that a request needs, it gives way; after the second time for good.
        if (endStream) {
          starved++;
          endStream();
          endStream = undefined;
        }
        await sleep(runtime, Math.min(left(), pollEvery * runtime.random()), signal);
        continue;
      }
      // Held; or there was no room in the queue.
      if (taken.held || !taken.queued) return taken;
      const { holder, queued } = taken;
      const { place = 0 } = holder;
      emit(claim, { type: "waiting", ...holder, place, waited: sinceStart() });
      const random = runtime.random();
      const granted = await awaitGrant(claim, queued, inbox, {
        due: () => nextPoll(queued, place, holder.retryAfter, inbox.subscribed, random),
        // One that listened before it stood in the queue has heard every grant.
        mayMiss: subscribed ? undefined : place * fastestHandOver,
        left,
      });
      if (granted) return granted;
      if (left() <= 0) return taken;
    }
  } finally {
    // Ending a stream takes fetch up to a millisecond, which the work does not wait for.
    runtime.later(() => endStream?.(), 0);
  }
}

/** Listens for grants. Returns what ends it. */
function openStream(claim: Claim, inbox: Inbox): () => void {
  const stream = new AbortController();
  const hear = (message: Heard) => {
    if (stream.signal.aborted) return;
    inbox.subscribed = message !== undefined;
    inbox.heard.push(message);
    inbox.wake();
  };
  listen(claim.connection, channelOf(claim), hear, stream.signal).catch(() => {});
  return () => {
    inbox.subscribed = false;
    stream.abort();
  };
}

/**
 * Waits for the message of a grant. Undefined when it is time to ask again, or the wait is over.
 * @param due when to ask again, in ms since the last request was sent
 * @param mayMiss when the stream opens later than that many ms from now, a grant may have been missed; undefined:
 * none was missed so far
 * @param left how many ms of the wait are left
 */
async function awaitGrant(
  claim: Claim,
  queued: Queued,
  inbox: Inbox,
  { due, mayMiss, left }: { due: () => number; mayMiss: number | undefined; left: () => number },
): Promise<Taken | undefined> {
  const { runtime } = claim.connection;
  const { signal, fencing } = claim.settings;
  const sinceQueued = runtime.sinceNow();
  let missed = mayMiss === 0;
  if (missed && inbox.subscribed) return undefined;
  for (;;) {
    const pause = Math.min(due() - claim.since(), left());
    if (pause <= 0) return undefined;
    const woken = new Promise<void>((resolve) => {
      inbox.wake = resolve;
    });
    if (!inbox.heard.length) await within(runtime, woken, pause, undefined, signal);
    if (!inbox.heard.length) continue;
    const message = inbox.heard.shift();
    if (message === undefined) missed = true;
    if (message === "" && (missed || sinceQueued() > (mayMiss ?? Infinity))) return undefined;
    const plain = message && readGrant(claim, queued.ticket, message);
    if (plain) {
      // The grant may have been cut, whatever the server took us for.
      const lease = queued.stay - unheardCut;
      // A fencing token is drawn by asking.
      if (fencing || validity(lease) - claim.since() < minUsableGrant) return undefined;
      claim.plain = plain;
      return { held: true, lease };
    }
  }
}

/**
 * When a waiter asks again, in ms since it last did. It is not due later than the server counts on.
 * @param retryAfter ms left of the holder's lease, if that is known
 * @param random from 0 up to 1
 */
function nextPoll(
  { foreign, stay }: Queued,
  place: number,
  retryAfter: number | undefined,
  subscribed: boolean,
  random: number,
): number {
  const pace = subscribed ? stay - lostRequestMargin : pollEvery;
  const pause = (foreign && !place ? pollForeignEvery : pace) * (1 - pollJitter * random);
  // A holder that died is followed as soon as its lease is over.
  return !place && retryAfter ? Math.min(pause, retryAfter + 20) : pause;
}

/**
 * What is at the lock now, if the message is the grant of this stay in the queue: `<ticket>!` where others wait, else
 * `<ticket>:<lease>:<since>`. Undefined for any other message.
 */
function readGrant({ token, settings }: Claim, ticket: number, message: string): string | undefined {
  if (message === `${ticket}!`) return "s2!";
  const [, of, rest] = /^(\d+):(\d+:\d+)$/.exec(message) ?? [];
  return of === `${ticket}` ? `s2:${token}:${rest}:${shortOwner(settings.owner ?? "")}` : undefined;
}
