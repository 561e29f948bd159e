// What is at a lock's keys, and how it is shown.
import { decodePlain, decodeState, type Entry, kindOf } from "../protocol/state.ts";

/** A lock, for people and programs. Times are in ms; `since` is the time of day, in ms since 1970. */
export interface Inspection {
  key: string;
  /** `"foreign"`: another library's value is there. `"free"`: nobody holds it; some may wait, as while it is paused. */
  state: "free" | "held" | "foreign";
  /** How many permits there are: an operator's word, else the callers'. Undefined for the other kinds of lock. */
  limit: number | undefined;
  /** Whose the limit is. */
  limitBy: "operator" | "callers" | undefined;
  /** Whether an operator lets nobody in. */
  paused: boolean;
  holders: Holder[];
  /** The next one first. */
  waiters: Waiter[];
  /** The last fencing token, if one was drawn in the last 24 hours. */
  fence: number | undefined;
}

interface Somebody {
  /** What it calls itself, if it said so. In a queue its first 28 bytes. */
  owner: string | undefined;
  mode: "exclusive" | "shared" | "permit";
  /** The limit that it asked with, of a permit. */
  limit: number | undefined;
  /** How many permits. 1 for the other modes. */
  weight: number;
}

export interface Holder extends Somebody {
  /** Whether its work is done, and `holdFor` keeps the lock. */
  kept: boolean;
  /** Whether an operator ended it: it goes with its lease. */
  ended: boolean;
  /** When it got the lock; by its own clock if nobody waited. Undefined for another library's. */
  since: number | undefined;
  /** What is left of its lease. Undefined for another library's lock without an end. */
  remaining: number | undefined;
}

export interface Waiter extends Somebody {
  /** When it first asked. */
  since: number;
  /** How many wait before it. */
  place: number;
  /** For how long it counts as alive without asking again. */
  remaining: number;
}

/** What was found at a lock. Holds tokens. */
export interface Look {
  key: string;
  /** Whether the lock's own key exists. */
  there: boolean;
  foreign: { value: string; left: number | undefined } | undefined;
  /** Those that are alive; so are the waiters. */
  holders: Entry[];
  waiters: Entry[];
  /** By the server's clock. */
  now: number;
  /** An operator's. */
  limit: number | undefined;
  paused: boolean;
  fence: number | undefined;
}

/** The lock, what an operator has set for it, the queue behind another library's lock, the fencing counter. */
export function lookKeys(redisKey: string): string[] {
  return [redisKey, `${redisKey}:operator`, `${redisKey}:waiters`, `${redisKey}:fence`];
}

/**
 * What the script replies of one lock.
 * @param now the server's time in ms; 0 if nothing there needs it
 */
export function readLook(key: string, reply: unknown, now: number): Look {
  const [marked, said, behind, counter, left] = reply as [string | null, string | null, ...unknown[]];
  const value = marked?.slice(1);
  const plain = decodePlain(value ?? "");
  const state = decodeState(value ?? "");
  const [, limit, pause] = /^(\d*):(1?):/.exec(`${said}`) ?? [];
  const alive = (entries: Entry[] = []) => entries.filter(({ until }) => until > now);
  const holders = plain
    ? [{ ...plain, mode: "x", weight: 1, until: now + Number(left), ticket: 0 }]
    : alive(state?.holders);
  const waiting = alive(state?.waiters);
  return {
    key,
    now,
    there: value !== undefined,
    foreign:
      value !== undefined && !plain && !state
        ? { value, left: Number(left) < 0 ? undefined : Number(left) }
        : undefined,
    holders,
    waiters: waiting.length > 0 ? waiting : alive(decodeState(`${behind}`)?.waiters),
    limit: limit ? Number(limit) : undefined,
    paused: pause === "1",
    fence: counter === null ? undefined : Number(counter),
  };
}

export function shown(look: Look): Inspection {
  const { key, foreign, paused, now, fence } = look;
  const limits = [...look.holders, ...look.waiters].flatMap((each) => Number(each.mode) || []);
  const limit = look.limit ?? (limits.length > 0 ? Math.max(...limits) : undefined);
  const holders = look.holders.map((entry): Holder => {
    const { token, since, until } = entry;
    const marks = { kept: token.endsWith(".kept"), ended: token.endsWith(".ended") };
    return { ...somebody(entry), ...marks, since, remaining: until - now };
  });
  return {
    key,
    state: foreign ? "foreign" : holders.length > 0 ? "held" : "free",
    limit,
    limitBy: look.limit ? "operator" : limit ? "callers" : undefined,
    paused,
    holders: foreign ? [foreigner(foreign.left)] : holders,
    waiters: look.waiters.map((entry, place) => {
      return { ...somebody(entry), since: entry.since, place, remaining: entry.until - now };
    }),
    fence,
  };
}

function somebody({ owner, mode, weight }: Pick<Entry, "owner" | "mode" | "weight">): Somebody {
  return { owner: owner || undefined, mode: kindOf(mode), limit: Number(mode) || undefined, weight };
}

function foreigner(remaining: number | undefined): Holder {
  const nobody = somebody({ owner: "", mode: "x", weight: 1 });
  return { ...nobody, kept: false, ended: false, since: undefined, remaining };
}
