import { type Holder, redisKey, type Settings } from "../options.ts";
import type { Command } from "../redis/client.ts";
import type { Answer, Asker, Connection, Straggler } from "../redis/connection.ts";
import { forever, leaseFor, type Since } from "../time.ts";
import { encodePlain } from "./state.ts";

/** One holder's claim to one lock: what every operation of the protocol is about. */
export interface Claim {
  readonly connection: Connection;
  readonly settings: Settings;
  /** The lock's key as the caller gave it. */
  readonly name: string;
  /** Milliseconds the function around the lock may still run; no lease is renewed past it. */
  readonly lifetime: () => number;
  /** Has done what nobody waits for: a platform may stop all else once there is an answer. */
  readonly background: (work: Promise<unknown>) => void;
  /** What tells this holder from all others. */
  readonly token: string;
  /** Where it is in Redis. */
  readonly key: string;
  /** Whether another process may rely on the same lease: then it is never made shorter. */
  readonly shared: boolean;
  /** Who takes the lock, and where its requests are left that were given up and may still be executed. */
  readonly asker: Asker & { readonly stragglers: Straggler[] };
  /** Since the earliest moment at which the lock may have become ours: its lease is counted from there. */
  since: Since;
  /** Whether it ever asked to stand in the queue. */
  standing?: boolean;
  /**
   * What is at the lock when it is the claim's: a plain value, or "s2!" where it may be a state. Then only a script
   * can release the lock.
   */
  plain: string;
}

/** Held, or busy, with what is known of the holder and of the place in its queue. */
export type Taken =
  | {
      held: true;
      fence?: number | undefined;
      /** The lease in ms, where it is not the one asked for: that of a grant. */
      lease?: number;
    }
  | {
      held: false;
      /** What is known of the holder, and how many wait before us, if we stand in the queue. */
      holder: Holder & { place: number | undefined };
      /** Undefined where we do not stand in the queue. */
      queued: Queued | undefined;
    };

/** A stay in the queue. */
export interface Queued {
  /** Its number. */
  ticket: number;
  /** For how many ms we count as alive, from when the answered request was sent. */
  stay: number;
  /** Whether the holder is one that does not know the queue. */
  foreign: boolean;
}

/** @param elsewhere of a lock taken elsewhere: its token, and the lease it was taken with */
export function newClaim(
  connection: Connection,
  asked: Settings,
  name: string,
  elsewhere?: { token: string; ttl: number },
): Claim {
  const { runtime } = connection;
  const since = runtime.sinceNow();
  const lifetime = () => lifeLeft(asked.deadline, since);
  const settings = capped(asked, lifetime());
  const { ttl, owner = "" } = settings;
  const token = elsewhere?.token ?? runtime.uuid();
  return {
    connection,
    settings,
    name,
    lifetime,
    background: (work) => void handOver(work, settings.waitUntil),
    token,
    key: redisKey(settings.prefix, name),
    shared: elsewhere !== undefined,
    plain: elsewhere ? "s2!" : encodePlain({ token, lease: ttl, since: runtime.wallClock(), owner }),
    asker: { signal: settings.signal, stragglers: [] },
    since,
  };
}

/** Ms the caller may still run; no limit if its function does not know, as in a unit test. */
export function lifeLeft(deadline: Settings["deadline"], since: Since): number {
  const left: unknown = typeof deadline === "function" ? deadline() : Number(deadline) - since();
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

/** Lets a platform wait for the work. False if it does not: a hook of its that throws changes nothing else. */
export function handOver(work: Promise<unknown>, waitUntil: Settings["waitUntil"]): boolean {
  const settled = work.catch(() => {});
  try {
    Promise.resolve(waitUntil?.(settled)).catch(() => {});
    return waitUntil !== undefined;
  } catch {
    return false;
  }
}

/** A waiter's channel. Only a part of its token: channels stand in URLs. */
export function channelOf({ token }: Claim): string {
  return `sl:${token.slice(0, 18)}`;
}

/** Asks Redis something about the claim. */
export function ask(claim: Claim, command: Command, asker?: Asker): Promise<Answer> {
  // A waiter's request and its repetitions together get one limit, so that a wait ends when it should.
  const limit = claim.settings.requestTimeout / (claim.standing ? 2 : 1);
  return claim.connection.ask(command, limit, asker);
}

/** A reply that Redis would not give to this command. Names its kind only: it may hold a token. */
export function unexpected(reply: unknown): Error {
  return new Error(`no reply of Redis: ${reply && typeof reply}`);
}
