import { emit } from "../events.ts";
import { validity } from "../options/durations.ts";
import type { Attempt, Claim } from "../protocol/attempt.ts";
import { findResult } from "../protocol/deliver.ts";
import { joinQueue } from "../protocol/join.ts";
import {
  type Busy,
  busy,
  type Grant,
  type Holder,
  type Outcome,
  type Queued,
  takesResult,
} from "../protocol/protocol.ts";
import { kindOf, shortOwner, stateMark } from "../protocol/state.ts";
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
import { forever, sleep, within } from "../runtime.ts";
import { type Inbox, subscribe } from "./subscription.ts";

/** A stream that starves requests this often is opened no more. */
const mostStarved = 2;

/**
 * Stands in the queue until the lock is ours or the wait is over. A grant is published to us; that is only a
 * nudge, and asking now and then keeps our place and finds a grant whose message was lost. Once we stood there,
 * an outage does not end the wait.
 * @param first what came of standing there, if it was asked for already
 */
export async function waitForTurn(attempt: Attempt, claim: Claim, first?: Outcome): Promise<Outcome> {
  const { age, connection, settings } = attempt;
  const { runtime } = connection;
  const { wait, signal } = settings;
  const left = () => wait - age();
  const inbox: Inbox = { heard: [], subscribed: false, wake() {} };
  /** Ends the stream, while there is one. */
  let unsubscribe: (() => void) | undefined;
  /** How often a request got no answer while there was a stream. */
  let starved = 0;
  let last: Busy | undefined;
  let ready = first;
  // Only the first stay counts from when we asked: whoever was away too long comes last.
  let ago = Math.floor(age());
  try {
    for (;;) {
      const subscribed = inbox.subscribed;
      let outcome: Outcome;
      try {
        // It is sent before the stream is opened, which may take the last connection that a process may have.
        const joining = ready ?? joinQueue(attempt, claim, { ago, ticket: last?.queued?.ticket });
        ready = undefined;
        ago = 0;
        if (starved < mostStarved) unsubscribe ??= subscribe(attempt, claim, inbox);
        outcome = await joining;
      } catch (error) {
        const lasting = error instanceof RefusedError && !isFull(error);
        if ((!last && !unsubscribe) || left() <= 0 || lasting || signal?.aborted) throw error;
        // A stream that has the connection that a request needs gives way.
        if (unsubscribe) starved++;
        unsubscribe?.();
        unsubscribe = undefined;
        await sleep(runtime, Math.min(left(), pollEvery * runtime.random()), signal);
        continue;
      }
      // Held; or there was a result, or no room in the queue.
      if (outcome.held || !outcome.queued) return outcome;
      last = outcome;
      const { holder, queued } = outcome;
      emit(attempt, { type: "waiting", ...holder, place: queued.place, waited: age() });
      // One that listened before it stood in the queue has heard every grant.
      const mayMissAfter = subscribed ? forever : turnsBefore(claim, queued.place) * fastestHandOver;
      const told = await awaitMessage(attempt, claim, { ...queued, ...holder }, inbox, mayMissAfter);
      if (told) return told;
      if (left() <= 0) return outcome;
    }
  } finally {
    // Ending a stream takes fetch up to a millisecond, which the work does not wait for.
    runtime.later(() => unsubscribe?.(), 0);
  }
}

/** How many hand-overs there have to be before ours, at the least. */
function turnsBefore({ mode }: Claim, place: number): number {
  if (kindOf(mode) === "exclusive") return place;
  // One release lets in all readers at the head, and may let in several permits that are behind it.
  return mode === "s" ? 0 : Math.min(place, 1);
}

/**
 * Waits for the message of a grant or a result. Undefined when it is time to ask again, or the wait is over.
 * @param mayMissAfter when the stream opens that many ms from now or later, a grant may have been missed
 */
async function awaitMessage(
  attempt: Attempt,
  claim: Claim,
  queued: Queued & Holder,
  inbox: Inbox,
  mayMissAfter: number,
): Promise<Outcome | undefined> {
  const { runtime } = attempt.connection;
  const { signal, wait } = attempt.settings;
  const sinceQueued = runtime.sinceNow();
  const random = runtime.random();
  let missedAfter = mayMissAfter;
  for (;;) {
    if (!inbox.heard.length) {
      const due = nextPoll(queued, inbox.subscribed, random) - queued.since();
      const pause = Math.min(due, wait - attempt.age());
      if (pause <= 0) return undefined;
      const woken = new Promise<void>((resolve) => {
        inbox.wake = resolve;
      });
      await within(runtime, woken, pause, undefined, signal);
      continue;
    }
    const message = inbox.heard.shift();
    if (message === undefined) missedAfter = 0;
    if (message === "" && sinceQueued() >= missedAfter) return undefined;
    // A result comes to all at once: one may have come before the stream opened. A long one is not told.
    if (message === "=" || (message === "" && takesResult(claim) && mayMissAfter < forever)) {
      const result = await findResult(attempt, claim, queued.ticket).catch(() => {});
      if (result !== undefined) return { ...busy(claim), result };
      if (message === "=") return undefined;
      continue;
    }
    if (message?.startsWith("=")) return { ...busy(claim), result: message.slice(1) };
    const value = message && readGrant(attempt, claim, queued.ticket, message);
    if (value) return usableGrant(attempt, claim, queued, value);
  }
}

/** The grant of a message. Undefined if too little of it is left, or a fencing token is to be drawn by asking. */
function usableGrant(
  { settings }: Attempt,
  claim: Claim,
  { stay, since }: Queued,
  value: string,
): Grant | undefined {
  // The grant may have been cut, whatever the server took us for.
  const lease = stay - unheardCut;
  if (settings.fencing || validity(lease) - since() < minUsableGrant) return undefined;
  return { held: true, parts: [{ claim, value }], lease, since, handedOver: true, fence: undefined };
}

/**
 * When a waiter asks again, in ms since it last did. It is not due later than the server counts on.
 * @param random from 0 up to 1
 */
function nextPoll(
  { foreign, stay, place, retryAfter }: Queued & Holder,
  subscribed: boolean,
  random: number,
): number {
  const pace = subscribed ? stay - lostRequestMargin : pollEvery;
  const pause = (foreign && !place ? pollForeignEvery : pace) * (1 - pollJitter * random);
  // A holder that died is followed as soon as its lease is over.
  return !place && retryAfter ? Math.min(pause, retryAfter + 20) : pause;
}

/**
 * What is at the lock now, if the message is the grant of this stay in the queue: `<ticket>!` if others wait, else
 * `<ticket>:<lease>:<since>`. Undefined for any other message.
 */
function readGrant(
  { settings }: Attempt,
  { token }: Claim,
  ticket: number,
  message: string,
): string | undefined {
  if (message === `${ticket}!`) return stateMark;
  const [, of, rest] = /^(\d+):(\d+:\d+)$/.exec(message) ?? [];
  return of === `${ticket}` ? `s2:${token}:${rest}:${shortOwner(settings.owner ?? "")}` : undefined;
}
