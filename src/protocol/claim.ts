import type { Holder, Settings } from "../options.ts";
import type { Command } from "../redis/client.ts";
import type { Answer, Asker, Connection, Straggler } from "../redis/connection.ts";
import type { Moment } from "../time.ts";

/** One holder's claim to one lock: what every operation of the protocol is about. */
export interface Claim {
  readonly connection: Connection;
  readonly settings: Settings;
  /** The lock's key as the caller gave it. */
  readonly name: string;
  /** Milliseconds the function around the lock may still run; no lease is renewed past it. */
  readonly lifetime: (() => number) | undefined;
  /** What tells this holder from all others. */
  readonly token: string;
  /** `<prefix>{<name>}` in Redis: the braces keep a lock's keys on one cluster slot. */
  readonly key: string;
  /** What identifies the holder there. */
  readonly value: string;
  /** Requests to take the lock that were given up and may still be executed. */
  readonly stragglers: Straggler[];
  /** The earliest moment at which the lock may have become ours; undefined before the first request. */
  since: Moment | undefined;
}

/** @param token that of a lock taken elsewhere; by default a new one */
export function newClaim(
  connection: Connection,
  settings: Settings,
  name: string,
  lifetime?: () => number,
  token = connection.runtime.uuid(),
): Claim {
  const key = `${settings.prefix}{${name}}`;
  const value = leaseValue(token, settings.ttl, settings.owner);
  return { connection, settings, name, lifetime, token, key, value, stragglers: [], since: undefined };
}

/** `sl:<token>:<ttl>:<owner>`: who finds it learns the lease and the owner. */
export function leaseValue(token: string, ttl: number, owner = ""): string {
  return `sl:${token}:${ttl}:${owner}`;
}

/** Reads another holder's value; one of another library says nothing. */
export function readHolder(value: string): Holder {
  const [, ttl, owner] = /^sl:[^:]*:(\d+):(.*)$/.exec(value) ?? [];
  return { owner: owner || undefined, retryAfter: Number(ttl) || undefined };
}

/** Asks Redis something about the claim. */
export function ask(claim: Claim, command: Command, asker?: Asker): Promise<Answer> {
  return claim.connection.ask(command, claim.settings.requestTimeout, asker);
}

/** A reply that Redis would not give to this command. Names its kind only: it may hold a token. */
export function unexpected(reply: unknown): Error {
  return new Error(`an answer that is none: ${reply === null ? "null" : typeof reply}`);
}
