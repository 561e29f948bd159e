import type { Command } from "../redis/client.ts";
import type { Answer, Asker, Connection, Straggler } from "../redis/connection.ts";
import type { Moment } from "../time.ts";

/** One holder's claim to one lock: what every operation of the protocol is about. */
export interface Claim {
  readonly connection: Connection;
  /** One request's limit, in ms. */
  readonly requestTimeout: number;
  /** The Redis key of the lock. */
  readonly key: string;
  /** The value that identifies the holder there. */
  readonly value: string;
  readonly token: string;
  readonly owner: string | undefined;
  /** The lease asked for, in ms. */
  readonly ttl: number;
  readonly fencing: boolean;
  /** Requests to take the lock that were given up and may still be executed. */
  readonly stragglers: Straggler[];
  /** The earliest moment at which the lock may have become ours; undefined before the first request. */
  since: Moment | undefined;
}

/** What another holder's value says of it. */
export interface Holder {
  owner: string | undefined;
  /** Milliseconds its lease may last: what is left of it where the server said so, else its whole length. */
  retryAfter: number | undefined;
}

/** `<prefix>{<name>}`: the braces keep a lock's keys on one cluster slot. */
export function lockKey(prefix: string, name: string): string {
  return `${prefix}{${name}}`;
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
  return claim.connection.ask(command, claim.requestTimeout, asker);
}

/** A reply that Redis would not give to this command. Names its kind only: it may hold a token. */
export function unexpected(reply: unknown): Error {
  return new Error(`an answer that is none: ${reply === null ? "null" : typeof reply}`);
}
