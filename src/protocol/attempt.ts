import type { Settings } from "../api.ts";
import { capped, handOver, timeLeft } from "../invocation.ts";
import { redisKey } from "../options/targets.ts";
import type { AbandonedRequest, Connection } from "../redis/connection.ts";
import type { Since } from "../runtime.ts";
import { encodePlain, stateMark } from "./state.ts";

/**
 * One acquire: who asks for which lock, and how. What becomes of it is returned by the operations. Only `abandoned`
 * grows on the way.
 */
export interface Attempt {
  readonly connection: Connection;
  readonly settings: Settings;
  /** What its events are told from others by. No part of the token. */
  readonly id: string;
  /** The lock's key as the caller gave it. */
  readonly key: string;
  /** The lock's key in Redis. */
  readonly redisKey: string;
  /** What tells this holder from all others. Secret. */
  readonly token: string;
  /** What is at the lock once this attempt took it and nobody waits. `s2!` for a lock that was taken elsewhere. */
  readonly value: string;
  /** Whether another process may rely on the same lease: then it is never made shorter. */
  readonly shared: boolean;
  /** Ms since it began. */
  readonly age: Since;
  /** Ms the caller may still run. No lease is renewed past it. */
  remainingTime(): number;
  /** Runs clean-up that nobody awaits. Backed by the platform's `waitUntil`, if there is one. */
  background(work: Promise<unknown>): void;
  /** Requests to take the lock that were given up, and may still be executed. */
  readonly abandoned: AbandonedRequest[];
}

/** @param elsewhere of a lock taken elsewhere: its token */
export function newAttempt(
  connection: Connection,
  asked: Settings,
  key: string,
  elsewhere?: { token: string },
): Attempt {
  const { runtime } = connection;
  const age = runtime.sinceNow();
  const remainingTime = () => timeLeft(asked.deadline, age);
  const settings = capped(asked, remainingTime());
  const { ttl, owner = "", prefix, waitUntil } = settings;
  const token = elsewhere?.token ?? runtime.token();
  const plain = () => encodePlain({ token, lease: ttl, since: runtime.wallClock(), owner });
  return {
    connection,
    settings,
    id: Math.floor(runtime.random() * 2 ** 48).toString(36),
    key,
    redisKey: redisKey(prefix, key),
    token,
    value: elsewhere ? stateMark : plain(),
    shared: elsewhere !== undefined,
    age,
    remainingTime,
    background: (work) => void handOver(work, waitUntil),
    abandoned: [],
  };
}
