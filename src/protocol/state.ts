// The value at a lock's key, in the protocol's version 2. docs/protocol.md describes it byte by byte.
//
// One exclusive holder and nobody else is a plain value:
//   s2:<token>:<lease in ms>:<since>:<owner>
// All else is a state, a line for each holder and each waiter:
//   s2!<last ticket> <until> <limit>
//   h <token> <mode> <weight> <until> <since> <owner>
//   w <token> <mode> <weight> <ticket> <until> <since> <owner>
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

interface Entry {
  token: string;
  /** `x` for exclusive. */
  mode: string;
  weight: number;
  owner: string;
}

export interface Holder extends Entry {
  /** When its lease ends. */
  until: number;
  /** When it got the lock. */
  since: number;
}

export interface Waiter extends Entry {
  /** The number of this stay in the queue. */
  ticket: number;
  /** Until when it counts as alive. */
  until: number;
  /** When it first asked. */
  since: number;
}

export interface State {
  /** The highest ticket so far. */
  ticket: number;
  /** When the last waiter stops to count as alive. */
  until: number;
  limit: number;
  holders: Holder[];
  /** The next one first. */
  waiters: Waiter[];
}

/** How many bytes of an owner the queue keeps, so that no waiter's line is longer than 120. */
export const ownerRoom = 28;

/** How long the lines of a queue may be together: some 2,000 waiters. */
export const queueRoom = 200_000;

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

export function encodeState({ ticket, until, limit, holders, waiters }: State): string {
  return [
    `s2!${ticket} ${until} ${limit}`,
    ...holders.map((each) => `h ${entry(each)} ${each.until} ${each.since} ${each.owner}`),
    ...waiters.map((each) => `w ${entry(each)} ${each.ticket} ${each.until} ${each.since} ${each.owner}`),
  ].join("\n");
}

function entry({ token, mode, weight }: Entry): string {
  return `${token} ${mode} ${weight}`;
}

const stateLine = /^s2!(\d+) (\d+) (\d+)$/;
const holderLine = /^h (\S+) (\S+) (\d+) (\d+) (\d+) ([^\n]*)$/;
const waiterLine = /^w (\S+) (\S+) (\d+) (\d+) (\d+) (\d+) ([^\n]*)$/;

/** Undefined for what is no state of this version. */
export function decodeState(value: string): State | undefined {
  const [first = "", ...lines] = value.split("\n");
  const [, ticket, until, limit] = stateLine.exec(first) ?? [];
  if (ticket === undefined || lines.length === 0) return undefined;
  const holders: Holder[] = [];
  const waiters: Waiter[] = [];
  for (const line of lines) {
    const holder = holderLine.exec(line);
    const waiter = waiterLine.exec(line);
    if (holder) holders.push(readHolder(holder));
    else if (waiter) waiters.push(readWaiter(waiter));
    else return undefined;
  }
  return { ticket: Number(ticket), until: Number(until), limit: Number(limit), holders, waiters };
}

function readHolder([, token = "", mode = "", weight, until, since, owner = ""]: string[]): Holder {
  return { token, mode, weight: Number(weight), until: Number(until), since: Number(since), owner };
}

function readWaiter([, token = "", mode = "", weight, ticket, until, since, owner = ""]: string[]): Waiter {
  const entry = { token, mode, weight: Number(weight), ticket: Number(ticket) };
  return { ...entry, until: Number(until), since: Number(since), owner };
}

/** What a state begins with, and what the scripts reply for one. */
export const stateMark = "s2!";

/** Whether others may wait or hold the lock, too: then only a script can change the value. */
export function isState(value: string): boolean {
  return value.startsWith(stateMark);
}

/** Whether a value is that holder's. */
export function isHeldBy(value: string, token: string): boolean {
  return value.startsWith(`s2:${token}:`) || (isState(value) && value.includes(`\nh ${token} `));
}
