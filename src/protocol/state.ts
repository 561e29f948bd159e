// The value at a lock's key, in the protocol's version 2. docs/protocol.md describes it byte by byte.
//
// One exclusive holder and nobody else is a plain value:
//   s2:<token>:<lease in ms>:<since>:<owner>
// All else is a state, a line for each holder (h) and each waiter (w):
//   s2!<last ticket> <until when a waiter counts as alive>
//   h <token> <mode> <weight> <until> <since> 0 <owner>
//   w <token> <mode> <weight> <until> <since> <ticket> <owner>
// A paused lock may have no line. A token ends in `.kept` or `.ended` once its lock is nobody's any more.
// Times are the server's, in ms. Only the `since` of a plain value may be a client's.

/** A lock that nobody waits for. */
export interface Plain {
  token: string;
  /** The lease it was set with, in ms. */
  lease: number;
  /** When it was taken. */
  since: number;
  owner: string;
}

/** A holder or a waiter. */
export interface Entry {
  token: string;
  /** `x` for exclusive, `s` for shared, `f` for who waits for a result; the limit for a permit. */
  mode: string;
  /** How many of the permits. 1 for the other modes. */
  weight: number;
  /** When its lease ends; until when a waiter counts as alive. */
  until: number;
  /** When it got the lock; when a waiter first asked. */
  since: number;
  /** The number of a stay in the queue. 0 for a holder. */
  ticket: number;
  owner: string;
}

/** What the API calls a mode. Who waits for a result holds an exclusive lock in the end. */
export function kindOf(mode: string): "exclusive" | "shared" | "permit" {
  if (mode === "x" || mode === "f") return "exclusive";
  return mode === "s" ? "shared" : "permit";
}

export interface State {
  /** The highest ticket so far. */
  ticket: number;
  /** When the last waiter stops to count as alive. */
  until: number;
  holders: Entry[];
  /** The next one first. */
  waiters: Entry[];
}

/** How many bytes of an owner the queue keeps, so that no waiter's line is longer than 120. */
export const ownerRoom = 28;

/** How long the marks of earlier holders may be, whom an operator ended: some 100 of them. */
export const marksRoom = 4000;

/** How long the lines of a state may be together: some 2,000 holders and waiters. */
export const stateRoom = 200_000;

/** Cuts an owner for the queue. A character is kept whole or not at all. */
export function shortOwner(owner: string): string {
  let bytes = 0;
  let short = "";
  for (const character of owner) {
    bytes += new TextEncoder().encode(character).length;
    if (bytes > ownerRoom) break;
    short += character;
  }
  return short;
}

export function encodePlain({ token, lease, since, owner }: Plain): string {
  return `s2:${token}:${lease}:${since}:${owner}`;
}

/** Undefined for what is no plain value of this version. */
export function decodePlain(value: string): Plain | undefined {
  const [, token, lease, since, owner] = /^s2:([^: \n]+):(\d+):(\d+):([^\n]*)$/.exec(value) ?? [];
  if (token === undefined) return undefined;
  return { token, lease: Number(lease), since: Number(since), owner: owner as string };
}

export function encodeState({ ticket, until, holders, waiters }: State): string {
  return [`s2!${ticket} ${until}`, ...holders.map(line("h")), ...waiters.map(line("w"))].join("\n");
}

function line(kind: "h" | "w") {
  return ({ token, mode, weight, until, since, ticket, owner }: Entry) =>
    `${kind} ${token} ${mode} ${weight} ${until} ${since} ${ticket} ${owner}`;
}

const stateLine = /^s2!(\d+) (\d+)$/;
const entryLine = /^([hw]) (\S+) (\S+) (\d+) (\d+) (\d+) (\d+) ([^\n]*)$/;

/** Undefined for what is no state of this version. */
export function decodeState(value: string): State | undefined {
  const [first = "", ...lines] = value.split("\n");
  const [, ticket, until] = stateLine.exec(first) ?? [];
  if (ticket === undefined) return undefined;
  const entries = { h: [] as Entry[], w: [] as Entry[] };
  for (const each of lines) {
    const [, kind, token = "", mode = "", weight, until, since, ticket, owner = ""] =
      entryLine.exec(each) ?? [];
    if (kind === undefined) return undefined;
    const numbers = { weight: Number(weight), until: Number(until), since: Number(since) };
    entries[kind as "h" | "w"].push({ token, mode, ...numbers, ticket: Number(ticket), owner });
  }
  return { ticket: Number(ticket), until: Number(until), holders: entries.h, waiters: entries.w };
}

/** What a state begins with, and what the scripts reply for one. */
export const stateMark = "s2!";

/** Whether others may wait or hold the lock, too: then only a script can change the value. */
export function isState(value: string): boolean {
  return value.startsWith(stateMark);
}

/** Whether a script's reply is what it says of a lock of ours. */
export function isOurs(reply: unknown, token: string): reply is string {
  return reply === stateMark || (typeof reply === "string" && reply.startsWith(`s2:${token}:`));
}

/** Whether a value is that holder's. */
export function isHeldBy(value: string, token: string): boolean {
  return value.startsWith(`s2:${token}:`) || (isState(value) && value.includes(`\nh ${token} `));
}
