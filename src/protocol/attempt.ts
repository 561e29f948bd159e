import type { Settings } from "../api.ts";
import { capped, checkDeadline, handOver, timeLeft } from "../invocation.ts";
import { joinKeys, redisKey, type Wanted } from "../options/targets.ts";
import type { AbandonedRequest, Connection } from "../redis/connection.ts";
import type { Since } from "../runtime.ts";
import { encodePlain, stateMark } from "./state.ts";

/**
 * One acquire: who asks for what, and how. What becomes of it is returned by the operations. Only `abandoned` grows on
 * the way.
 */
export interface Attempt {
  readonly connection: Connection;
  readonly settings: Settings;
  /** What its events are told from others by. No part of a token. */
  readonly id: string;
  /** The key as the caller gave it; of several their keys, joined. */
  readonly key: string;
  /** A claim for each target, in the order given. */
  readonly claims: readonly Claim[];
  /** Whether another process may rely on the same lease: then it is never made shorter. */
  readonly resumed: boolean;
  /** Ms since it began. */
  readonly age: Since;
  /** Ms the caller may still run. No lease is renewed past it. */
  remainingTime(): number;
  /** How long a lease that begins now is to be, in ms: after a wait less of the caller's time is left. */
  leaseNow(): number;
  /** Runs clean-up that nobody awaits. Backed by the platform's `waitUntil`, if there is one. */
  background(work: Promise<unknown>): void;
  /** Requests to take a lock that were given up, and may still be executed. */
  readonly abandoned: AbandonedRequest[];
}

/** What an attempt asks of one key. */
export interface Claim extends Wanted {
  /** The lock's key in Redis. */
  readonly redisKey: string;
  /** What tells this holder from all others. Secret. */
  readonly token: string;
  /** What is at the lock once it is ours and nobody else is there. `s2!` if only a script can take it. */
  readonly value: string;
  /** For how many ms from acquire a success keeps it. */
  readonly holdFor: number;
}

/** A lock that is ours, and what is there as far as we know: our plain value, or `s2!` for a state. */
export interface Part {
  readonly claim: Claim;
  readonly value: string;
}

/** @param tokens of locks taken elsewhere, one for each target */
export function newAttempt(
  connection: Connection,
  asked: Settings,
  targets: readonly Wanted[],
  tokens?: readonly string[],
): Attempt {
  const { runtime } = connection;
  const age = runtime.sinceNow();
  checkDeadline(asked.deadline, age);
  const remainingTime = () => timeLeft(asked.deadline, age);
  const settings = capped(asked, remainingTime());
  const { ttl, owner = "", prefix, waitUntil } = settings;
  const claims = targets.map((target, i): Claim => {
    const token = tokens?.[i] ?? runtime.token();
    const plain = target.mode === "x" && !tokens;
    return {
      ...target,
      holdFor: target.holdFor ?? settings.holdFor,
      redisKey: redisKey(prefix, target.key),
      token,
      value: plain ? encodePlain({ token, lease: ttl, since: runtime.wallClock(), owner }) : stateMark,
    };
  });
  return {
    connection,
    settings,
    id: Math.floor(runtime.random() * 2 ** 48).toString(36),
    key: joinKeys(claims.map(({ key }) => key)),
    claims,
    resumed: tokens !== undefined,
    age,
    remainingTime,
    leaseNow: () => capped(settings, remainingTime()).ttl,
    background: (work) => void handOver(work, waitUntil),
    abandoned: [],
  };
}
