import { LockUnavailableError } from "../errors.ts";
import type { Answer } from "../redis/connection.ts";
import type { Since } from "../runtime.ts";
import type { Attempt, Claim, Part } from "./attempt.ts";

/** What was asked for is ours. */
export interface Grant {
  held: true;
  parts: readonly Part[];
  /** The lease in ms. */
  lease: number;
  /** Ms since the earliest moment at which it may have become ours: the lease is counted from there. */
  since: Since;
  /** The shortest lease in ms that an earlier request of unknown fate may yet set. */
  unsettled?: number | undefined;
  /** Whether a message handed it over, and not a request found it so. */
  handedOver: boolean;
  /** How many replicas confirmed it. Undefined if they were not asked. */
  confirmed?: number | undefined;
  fence: number | undefined;
}

/** One of the locks is another's. */
export interface Busy {
  held: false;
  /** Which. */
  claim: Claim;
  holder: Holder;
  /** Undefined if we do not stand in its queue. */
  queued: Queued | undefined;
  /** Whether an operator ended it while it was ours, but we did not know so, or did not have them all yet. */
  ended?: boolean;
  /** The result of the work, in the lock's place: for a claim that takes one. */
  result?: string;
}

/** What is known of another holder. */
export interface Holder {
  /** What it calls itself, if it said so. */
  owner: string | undefined;
  /** Milliseconds its lease may last: what is left of it if the server said so, else its whole length. */
  retryAfter: number | undefined;
}

/** A stay in the queue. */
export interface Queued {
  ticket: number;
  /** How many wait before us. */
  place: number;
  /** For how many ms we count as alive, from when the answered request was sent. */
  stay: number;
  /** Ms since that. */
  since: Since;
  /** Whether the holder is another library's, which does not know the queue. */
  foreign: boolean;
}

export type Outcome = Grant | Busy;

/** Leases that were started anew. */
export interface Extension {
  /** What is at the locks now. */
  parts: readonly Part[];
  /** Ms since the answered request was sent: the leases are counted from there. */
  since: Since;
  /** Whether the same request may have been executed before. */
  repeated: boolean;
}

/** Why a lock is not ours any more, as its error says it. */
export const gone = "another has it, or it was deleted";
export const endedByOperator = "an operator ended it";
export type Loss = typeof gone | typeof endedByOperator;

/**
 * Ours by a request that was answered.
 * @param lease in ms, as it was asked for
 */
export function granted(
  attempt: Attempt,
  parts: readonly Part[],
  answer: Confirmed,
  { lease, fence }: { lease: number; fence?: number | undefined },
): Grant {
  const { sinceSent: since, confirmed } = answer;
  checkReplicas(attempt, confirmed);
  return { held: true, parts, lease, since, handedOver: false, confirmed, fence };
}

type Confirmed = Pick<Answer, "sinceSent" | "confirmed">;

/**
 * What was asked for was done; it counts only with enough replicas.
 * @param confirmed how many confirmed it. None is missing if they were not asked
 * @throws LockUnavailableError if there are too few
 */
export function checkReplicas({ key, settings: { replicas } }: Attempt, confirmed = replicas): void {
  if (confirmed < replicas)
    throw new LockUnavailableError(key, undefined, `${confirmed} of ${replicas} replicas confirmed the lock`);
}

/** @param retryAfter in ms, how long the holder's lease may last, if that is known */
export function busy(claim: Claim, owner = "", retryAfter = 0, queued?: Queued): Busy {
  const holder = { owner: owner || undefined, retryAfter: retryAfter > 0 ? retryAfter : undefined };
  return { held: false, claim, holder, queued };
}

/** The lock, and what an operator has set for it. */
export function lockKeys({ redisKey }: Claim): string[] {
  return [redisKey, `${redisKey}:operator`];
}

/** The same, the queue behind another library's lock, our tombstone. */
export function keysOf(claim: Claim): string[] {
  const { redisKey, token } = claim;
  return [...lockKeys(claim), `${redisKey}:waiters`, `${redisKey}:gone:${token}`];
}

/** Where the result of work under a lock is kept. */
export function resultKey(redisKey: string): string {
  return `${redisKey}:result`;
}

/** Whether a claim takes the result of a holder's work in the lock's place. */
export function takesResult({ mode }: Claim): boolean {
  return mode === "f";
}

/** A waiter's channel. Only a part of its token: channels stand in URLs. */
export function channelOf({ token }: Claim): string {
  return `sl:${token.slice(0, 18)}`;
}

/** A reply that Redis would not give to this command. Names its kind only: it may hold a token. */
export function unexpected(reply: unknown): Error {
  return new Error(`no reply of Redis: ${reply && typeof reply}`);
}
