import { redisKey, type Settings } from "../options.ts";
import type { AbandonedRequest, Connection } from "../redis/connection.ts";
import { forever, leaseFor, type Since } from "../time.ts";
import { encodePlain, stateMark } from "./state.ts";

/** One acquire: who asks for which lock, and how. What becomes of it is returned by the operations. */
export interface Attempt {
  readonly connection: Connection;
  readonly settings: Settings;
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
  const token = elsewhere?.token ?? runtime.uuid();
  const plain = () => encodePlain({ token, lease: ttl, since: runtime.wallClock(), owner });
  return {
    connection,
    settings,
    key,
    redisKey: redisKey(prefix, key),
    token,
    value: elsewhere ? stateMark : plain(),
    shared: elsewhere !== undefined,
    age,
    remainingTime,
    background: (work) => handOver(work, waitUntil),
    abandoned: [],
  };
}

/** Ms the caller may still run; no limit if its function does not know, as in a unit test. */
function timeLeft(deadline: Settings["deadline"], age: Since): number {
  const left: unknown = typeof deadline === "function" ? deadline() : Number(deadline) - age();
  return typeof left === "number" && !Number.isNaN(left) ? left : forever;
}

/** Nothing may go on past the caller's own end, and the release wants a share of the time too. */
function capped(settings: Settings, left: number): Settings {
  // Whole ms: some of them go to Redis, which takes no others.
  const usable = Math.floor(Math.max(20, left - Math.min(1000, left / 10)));
  return {
    ...settings,
    ttl: Math.min(settings.ttl, Math.max(10, leaseFor(left))),
    wait: Math.min(settings.wait, usable),
    requestTimeout: Math.min(settings.requestTimeout, Math.floor(usable / 2)),
  };
}

/** Lets a platform wait for the work, if it can. A hook of its that throws changes nothing. */
function handOver(work: Promise<unknown>, waitUntil: Settings["waitUntil"]): void {
  const settled = work.catch(() => {});
  try {
    Promise.resolve(waitUntil?.(settled)).catch(() => {});
  } catch {}
}
