import type { Holder } from "../api.ts";
import type { Since } from "../runtime.ts";
import type { Attempt } from "./attempt.ts";

/** The lock is ours. */
export interface Grant {
  held: true;
  /** What is at the lock: our plain value, or `s2!` if others wait. */
  value: string;
  /** The lease in ms. */
  lease: number;
  /** Ms since the earliest moment at which the lock may have become ours: the lease is counted from there. */
  since: Since;
  /** Whether a message handed the lock over, and not a request found it so. */
  handedOver: boolean;
  fence?: number | undefined;
}

/** Another holds the lock. */
export interface Busy {
  held: false;
  holder: Holder;
  /** Undefined if we do not stand in the queue. */
  queued: Queued | undefined;
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

/** A lease that was started anew. */
export interface Extension {
  /** What is at the lock now. */
  value: string;
  /** Ms since the answered request was sent: the lease is counted from there. */
  since: Since;
  /** Whether the same request may have been executed before. */
  repeated: boolean;
}

/** The lock is ours by a request that was answered. */
export function granted(attempt: Attempt, value: string, since: Since, fence?: number): Grant {
  return { held: true, value, lease: attempt.settings.ttl, since, handedOver: false, fence };
}

/** @param retryAfter in ms, how long the holder's lease may last, if that is known */
export function busy(owner = "", retryAfter = 0, queued?: Queued): Busy {
  const holder = { owner: owner || undefined, retryAfter: retryAfter > 0 ? retryAfter : undefined };
  return { held: false, holder, queued };
}

/** The lock, the queue behind another library's lock, our tombstone. */
export function keysOf({ redisKey, token }: Attempt): string[] {
  return [redisKey, `${redisKey}:waiters`, `${redisKey}:gone:${token}`];
}

/** A waiter's channel. Only a part of its token: channels stand in URLs. */
export function channelOf({ token }: Attempt): string {
  return `sl:${token.slice(0, 18)}`;
}

/** A reply that Redis would not give to this command. Names its kind only: it may hold a token. */
export function unexpected(reply: unknown): Error {
  return new Error(`no reply of Redis: ${reply && typeof reply}`);
}
