import { type Holder, redisKey, type Settings } from "../options.ts";
import type { Command } from "../redis/client.ts";
import type { Answer, Asker, Connection, Straggler } from "../redis/connection.ts";
import { forever, leaseFor, type Since } from "../time.ts";

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
  /** What identifies the holder there. */
  readonly value: string;
  /** Whether another process may rely on the same lease: then it is never made shorter. */
  readonly shared: boolean;
  /** Who takes the lock, and where its requests are left that were given up and may still be executed. */
  readonly asker: Asker & { readonly stragglers: Straggler[] };
  /** Since the earliest moment at which the lock may have become ours: its lease is counted from there. */
  since: Since;
  /** Whether it ever asked to stand in the queue. */
  standing?: boolean;
  /** Whether others wait behind it, or may: then only a script can release the lock. */
  contended?: boolean;
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
      /** The number of this stay in the queue. */
      ticket: string;
      /** Ms for which we stand there, from when the answered request was sent. */
      stay: number;
      /** Whether the holder is one that does not know the queue. */
      foreign: boolean;
    };

/** @param elsewhere of a lock taken elsewhere: its token, and the lease that its value tells */
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
  const { token, ttl } = elsewhere ?? { token: runtime.uuid(), ttl: settings.ttl };
  return {
    connection,
    settings,
    name,
    lifetime,
    background: (work) => void handOver(work, settings.waitUntil),
    token,
    key: redisKey(settings.prefix, name),
    value: leaseValue(token, ttl, settings.owner),
    shared: elsewhere !== undefined,
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

/** `sl:<token>:<ttl>:<owner>`: who finds it learns the lease and the owner. */
export function leaseValue(token: string, ttl: number, owner = ""): string {
  return `sl:${token}:${ttl}:${owner}`;
}

/** Whether what is at the lock is the claim's; then it also says whether others may wait. */
export function isOurs(claim: Claim, there: unknown, value = claim.value): boolean {
  const ours = typeof there === "string" && /^sl[:!?]/.test(there) && there.slice(3) === value.slice(3);
  if (ours) claim.contended = there[2] !== ":";
  return ours;
}

/**
 * Reads another holder's value; one of another library says nothing.
 * @param left ms left of its lease, where the server said so
 */
export function busy(there: string, left = 0, ticket = "", place?: number, stay = 0): Taken {
  const [ours, ttl, owner] = /^sl.[^:]*:(\d+):(.*)$/.exec(there) ?? [];
  const retryAfter = left > 0 ? left : Number(ttl) || undefined;
  return {
    held: false,
    holder: { owner: owner || undefined, retryAfter, place },
    ticket,
    stay,
    foreign: !ours,
  };
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
