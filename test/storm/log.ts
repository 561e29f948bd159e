import { openSync, readFileSync, writeSync } from "node:fs";

/** Milliseconds on the monotonic clock, which all processes of one machine share and nobody can set. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/**
 * What a holder was sure of: `at` was read before it asked the lock, `read` after. So it believed at least until
 * `at + sure`, and at most until `read + sure`, however long the process was stopped in between.
 */
interface Sure {
  at: number;
  sure: number;
  read: number;
}

/** What a client wrote: each attempt at a lock has an id, `<client>-<number>`, which is no token. */
export type ClientLine =
  /**
   * `lease`: for how many ms Redis keeps the lock at most once nobody asks about it any more. `limit`: after how many
   * ms a request, repetitions included, has been given up. `claims`: what it asked for, where that is not one exclusive
   * lock of the key. `keepFor`: for how many ms others get the result of its work, where it asks for one.
   */
  | {
      what: "asked";
      at: number;
      id: string;
      key: string;
      claims?: Claim[] | undefined;
      wait: number;
      renew: boolean;
      ttl: number;
      lease: number;
      limit: number;
      fenced: boolean;
      keepFor?: number | undefined;
    }
  /** It stands in a queue; granted in its absence, the lock would be its own for `lease` ms. */
  | { what: "waiting"; at: number; id: string; lease: number }
  /** `mark`: what stands for it in Redis, where the library makes that up itself. */
  | ({ what: "acquired"; id: string; fence?: number | undefined; mark?: string | undefined } & Sure)
  | ({ what: "renewed"; id: string } & Sure)
  /** It found the signal not aborted after `read`, and went on to write. */
  | ({ what: "access"; id: string } & Sure)
  | { what: "aborted"; at: number; id: string; why: string }
  /** It asks for its exclusive lock to be a shared one from now on. */
  | { what: "downgrading"; at: number; id: string }
  /** `value`: what its work made, for those who ask for a result. */
  | { what: "releasing"; at: number; id: string; value?: number | undefined }
  /** `ours`: what release() answered; undefined where it threw. */
  | { what: "released"; at: number; id: string; ours?: boolean | undefined; why?: string | undefined }
  | { what: "refused"; at: number; id: string; verdict: Verdict; owner?: string | undefined; why: string }
  /** It was given the result of the work that `run` did. */
  | { what: "given"; at: number; id: string; run: string; value: number }
  /** It has the result of its own work, and nobody else will. */
  | { what: "unkept"; at: number; id: string; why: string }
  /** The event loop was `ms` behind. */
  | { what: "late"; at: number; ms: number }
  | { what: "finished"; at: number };

/** What is asked for at a key: all of it, a share beside other readers, or some of its permits. */
export interface Claim {
  key: string;
  mode: "exclusive" | "shared" | "permit";
  /** How many permits there are; none of the other modes has one. */
  limit?: number | undefined;
  /** How many of them; 1 for the other modes. */
  weight: number;
}

/** A pause, or how many permits there are. */
export interface Steering {
  key: string;
  act: "pause" | "limit";
  limit?: number | undefined;
}

export type Verdict = "busy" | "unknown" | "error";

/** What the director did and saw. */
export type DirectorLine =
  | { what: "started"; at: number; client: string }
  | { what: "stopped"; at: number; client: string }
  | { what: "continued"; at: number; client: string }
  | { what: "killed"; at: number; client: string }
  | { what: "stuck"; at: number; client: string }
  | { what: "exited"; at: number; client: string; code: number | null }
  /** A client's wall clock was moved by `ms`. */
  | { what: "stepped"; at: number; client: string; ms: number }
  /**
   * Redis answers nobody from `down` to `up`. `struck`: when it was killed; it was known to be gone a moment later.
   * `forgets`: it has lost all that it knew by then.
   */
  | { what: "down"; at: number; why: "paused" | "killed"; struck?: number; forgets?: boolean }
  | { what: "up"; at: number; why: "paused" | "killed" }
  /** The dev server did this to `count` requests or streams since it was last asked. */
  | { what: "fired"; at: number; kind: string; count: number }
  /**
   * A lock was there from `at` to `to`; `id` as in a client's log, or its mark. `pttl` when first seen. When it was
   * last asked, at `read`, it was to go at `end` at the latest. `gone`: when it was found gone. `ended`: since when it was
   * marked as ended by an operator.
   */
  | {
      what: "seen";
      at: number;
      to: number;
      key: string;
      id: string;
      pttl: number;
      read: number;
      end: number;
      gone?: number | undefined;
      ended?: number | undefined;
    }
  /**
   * An operator asked at `at` for a lock to be ended, safely or now, and had an answer at `to`. `released`: whether
   * anybody's was; undefined if there was no answer.
   */
  | { what: "ended"; at: number; to: number; key: string; now: boolean; released?: boolean | undefined }
  /**
   * What an operator set for a lock. asked: it may hold from now on. holds: it does. lifting: it may be over from now on.
   * over: it is, and no late request brings it back.
   */
  | ({ what: "steering"; at: number; step: "asked" | "holds" | "lifting" | "over" } & Steering)
  /** The result of an attempt's work was found at `at`, and was not there yet at `before`. */
  | { what: "stored"; at: number; before: number; key: string; id: string }
  /** The resource was written to. `checked`: when the writer had last asked its lock. */
  | {
      what: "write";
      at: number;
      key: string;
      id: string;
      fence?: number | undefined;
      checked: number;
      accepted: boolean;
    }
  /** A key was there when all was over; `most` is how long it may live, undefined where nobody should have made it. */
  | { what: "left"; at: number; key: string; pttl: number; most?: number | undefined }
  | { what: "late"; at: number; ms: number };

/** All that is known of a storm. */
export interface Logs {
  clients: Map<string, ClientLine[]>;
  director: DirectorLine[];
}

/** Writes a line at once, in one system call: what a process that is killed had written stays written. */
export function openLog<Line extends ClientLine | DirectorLine>(file: string): (line: Line) => void {
  const descriptor = openSync(file, "a");
  const round = (_: string, value: unknown) =>
    typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
  return (line) => void writeSync(descriptor, `${JSON.stringify(line, round)}\n`);
}

export function readLog<Line>(file: string): Line[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
}
