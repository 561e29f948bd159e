import type { ChainableCommander } from "ioredis";
import type { Claim, Verdict } from "../log.ts";
import type { Kinds } from "../settings.ts";

/** Where everything is, for a client. */
interface Place {
  /** Of the REST server; its URL and token. */
  url: string;
  token: string;
  /** Of the Redis behind it, for libraries that speak TCP. */
  redisUrl: string;
}

/** One attempt at a lock, as the storm asks for it. Durations in ms. */
export interface Attempt {
  /** `<client>-<number>`: put into Redis where the library lets one, so that the director knows whose a lock is. */
  id: string;
  claims: Claim[];
  wait: number;
  ttl: number;
  renew: boolean;
  fenced: boolean;
  /** Called when it stands in a queue, with the lease the lock would have were it granted now. */
  waiting(lease: number): void;
  /** Called when the lease was renewed. */
  renewed(): void;
}

export interface Refused {
  verdict: Verdict;
  /** What the holder calls itself, where the library says so. */
  owner?: string | undefined;
  why: string;
}

/** A lock held, as the library lets its user see it. */
export interface Held {
  fence?: number | undefined;
  /** What stands for it in Redis where that is not the attempt's id: the hash of its value. */
  mark?: string | undefined;
  /** Whether its user was told to stop. */
  aborted(): boolean;
  /** For how many ms its user may rely on it. */
  sure(): number;
  onAbort(tell: (why: string) => void): void;
  /** Makes an exclusive lock a shared one, where the library can. */
  downgrade?(): Promise<unknown>;
  /** Whether it was still ours, where the library says so. */
  release(): Promise<boolean | undefined>;
}

/** What came of work. */
export interface Made {
  /** The attempt that worked. */
  run: string;
  value: number;
  padding: string;
}

/** How it went with a result: whose one has, one's own or another's; or why one has none. */
export type Landed = { made: Made } | { lost: string } | { failed: string } | Refused;

/** A library in one client process. */
interface Session {
  acquire(attempt: Attempt): Promise<Held | Refused>;
  /**
   * Works under the lock for all who ask meanwhile or within `keepFor` ms, or gives what another's work made.
   * @param unkept told why nobody else gets what the work made
   */
  share?(
    attempt: Attempt,
    options: { keepFor: number; unkept(why: string): void },
    work: (held: Held) => Promise<Made>,
  ): Promise<Landed>;
  close(): Promise<void>;
}

/** Somebody a key is held by. */
export interface Holder {
  /** An attempt's id, or a mark. Never a token. */
  id: string;
  /** Ms left of the lease, if that is told; else it is as long as the key lives. */
  left?: number | undefined;
  /** Whether an operator ended it, and it goes with its lease. */
  ended?: boolean | undefined;
}

/** What an operator can do to a lock. Each is one try, and undefined if it is not known what came of it. */
export interface Desk {
  /** Whether anybody's was ended. */
  release(key: string, options: { now: boolean }): Promise<boolean | undefined>;
  /** Sets a pause, or takes it back. */
  pause(key: string, on: boolean): Promise<true | undefined>;
  /** Sets how many permits there are, or takes that back. */
  limit(key: string, limit: number | undefined): Promise<true | undefined>;
}

export interface Library {
  /** What a client process finds it by. */
  name: string;
  /** What it is called in a report. */
  title: string;
  /** "not installed" where it is not. */
  version: string;
  /** Whether it is this package, or a variant of it. */
  ours: boolean;
  /** How it reaches Redis: what befalls HTTP requests does not reach one that speaks TCP. */
  transport: "http" | "tcp";
  /** Whether it says for how long its user may rely on a lock. */
  tells: boolean;
  /** Whether it draws fencing tokens. */
  fences: boolean;
  /** What it can lock. */
  kinds: readonly Kinds[];
  /** ms after which one request of this client, repetitions included, has been given up. */
  limit(client: string): number;
  /** How long Redis may keep a lock at most that was asked for like this and that nobody asks about any more, in ms. */
  lease(ttl: number, wait: number): number;
  open(place: Place, client: string): Promise<Session>;
  /** For an operator, where the library knows one. */
  operator?(place: Pick<Place, "url" | "token">): Promise<Desk>;
  /** The key of a lock in Redis. */
  redisKey(key: string): string;
  /** Asks for what is at a key. Default: its text. */
  read?(commands: ChainableCommander, redisKey: string): unknown;
  /**
   * Whose lock it is, by what was read, null where nothing is.
   * @param now server time in ms
   */
  holders(value: unknown, now: number): Holder[];
  /** Where the result of work under a lock is kept, and which attempt's it is, where the library keeps any. */
  results?: { redisKey(key: string): string; run(value: string): string | undefined };
  /** How long a key may live at most, in ms; undefined for one it should never leave. */
  lifetime(redisKey: string, longestTtl: number): number | undefined;
}

/** One request's limit, where nothing else is asked for: long enough for a busy machine. */
export const requestTimeout = 1000;

/** What `@upstash/redis` takes at most to give up: six requests, with pauses of 50 ms × e^n between. */
export const upstashGivesUp = 6 * requestTimeout + 4300;

/** Of a library that puts one text at a lock's key. */
export function onlyHolder(id: (value: string) => string): (value: unknown) => Holder[] {
  return (value) => (typeof value === "string" ? [{ id: id(value) }] : []);
}

/** The key of an attempt at one exclusive lock, for libraries that know no others. */
export function onlyKey({ claims }: Attempt): string {
  return (claims[0] as Claim).key;
}

export function isRefused(result: Held | Landed): result is Refused {
  return "verdict" in result;
}
