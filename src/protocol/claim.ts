import { type Holder, redisKey, type Settings } from "../options.ts";
import type { Command } from "../redis/client.ts";
import type { Answer, Asker, Connection, Straggler } from "../redis/connection.ts";
import type { Since } from "../time.ts";
import { encodePlain } from "./state.ts";

/** One holder's claim to one lock: what every operation of the protocol is about. */
export interface Claim {
  readonly connection: Connection;
  readonly settings: Settings;
  /** The lock's key as the caller gave it. */
  readonly name: string;
  /** Milliseconds the function around the lock may still run; no lease is renewed past it. */
  readonly lifetime: (() => number) | undefined;
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
  settings: Settings,
  name: string,
  lifetime?: () => number,
  background: Claim["background"] = () => {},
  elsewhere?: { token: string; ttl: number },
): Claim {
  const { runtime } = connection;
  const { ttl, owner = "" } = settings;
  const token = elsewhere?.token ?? runtime.uuid();
  return {
    connection,
    settings,
    name,
    lifetime,
    background: (work) => background(work.catch(() => {})),
    token,
    key: redisKey(settings.prefix, name),
    shared: elsewhere !== undefined,
    plain: elsewhere ? "s2!" : encodePlain({ token, lease: ttl, since: runtime.wallClock(), owner }),
    asker: { signal: settings.signal, stragglers: [] },
    since: runtime.sinceNow(),
  };
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
