import type { Duration } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { milliseconds } from "../options/durations.ts";

export const REQUEST_KINDS = [
  "dropRequest",
  "dropReply",
  "delayReply",
  "repeat",
  "status429",
  "status500",
  "status503",
  "cutBody",
  "reset",
] as const;
export const STREAM_KINDS = ["sseCut", "sseStall", "sseRefuse"] as const;
export const FAULT_KINDS = [...REQUEST_KINDS, ...STREAM_KINDS];

export type RequestFault = (typeof REQUEST_KINDS)[number];
export type StreamFault = (typeof STREAM_KINDS)[number];
/**
 * What can befall a request:
 * - `dropRequest`: never executed, the connection is closed without an answer;
 * - `dropReply`: executed, then the same;
 * - `delayReply`: executed at once, answered `delay` later;
 * - `repeat`: executed twice, as by a proxy that sends again; the second reply is the one given;
 * - `status429`, `status500`, `status503`: never executed, answered with this status and an HTML body;
 * - `cutBody`: executed, the connection is closed in the middle of the reply's body;
 * - `reset`: never executed, the connection is reset;
 *
 * and what can befall an event stream:
 * - `sseCut`: the connection is closed within a second, at random;
 * - `sseStall`: accepted, and nothing ever comes;
 * - `sseRefuse`: answered with status 503.
 */
export type FaultKind = RequestFault | StreamFault;

/** Each kind's probability, from 0 (the default) to 1. A request meets one kind at most. */
export interface Faults extends Partial<Record<FaultKind, number | undefined>> {
  /**
   * Starts the sequence of chances: the n-th request after it, and the n-th stream, always meet the same. An integer
   * from 0 to 4294967295. Default: the sequence goes on; the first one's seed is random.
   */
  seed?: number | undefined;
  /** How much later a `delayReply` comes, up to 5 minutes. Default: `"5s"`. */
  delay?: Duration | undefined;
}

/** The faults, checked. */
export interface FaultSettings {
  odds: Partial<Record<FaultKind, number>>;
  seed: number | undefined;
  /** Milliseconds. */
  delay: number;
}

export const MAX_SEED = 2 ** 32 - 1;
const MAX_DELAY = 300_000;
const NAMES = [...FAULT_KINDS, "seed", "delay"];

/** @throws {LockOptionError} naming the fault, what came and what fits. */
export function readFaults(faults: unknown): FaultSettings {
  if (typeof faults !== "object" || faults === null || Array.isArray(faults))
    throw new LockOptionError("faults", show(faults), "an object such as { dropReply: 0.1 }");
  for (const name of Object.keys(faults)) {
    if (!NAMES.includes(name))
      throw new LockOptionError(name, "an unknown fault", `one of ${NAMES.join(", ")}`);
  }
  const given = faults as Record<string, unknown>;
  const odds: FaultSettings["odds"] = {};
  for (const kind of FAULT_KINDS) {
    if (given[kind] !== undefined) odds[kind] = probability(kind, given[kind]);
  }
  atMostOne(REQUEST_KINDS, odds);
  atMostOne(STREAM_KINDS, odds);
  return { odds, seed: readSeed(given.seed), delay: readDelay(given.delay ?? "5s") };
}

function probability(kind: FaultKind, value: unknown): number {
  if (typeof value === "number" && value >= 0 && value <= 1) return value;
  throw new LockOptionError(kind, show(value), "a probability from 0 to 1");
}

/** A request meets one kind at most, so their probabilities sum to 1 at most. */
function atMostOne(kinds: readonly FaultKind[], odds: FaultSettings["odds"]): void {
  const used = kinds.filter((kind) => odds[kind]);
  const sum = used.reduce((total, kind) => total + (odds[kind] ?? 0), 0);
  // Ten times 0.1 is a little more or less than 1.
  if (sum > 1 + 1e-9)
    throw new LockOptionError(used.join(" + "), `${Number(sum.toFixed(6))}`, "at most 1 together");
}

function readSeed(value: unknown): number | undefined {
  if (value === undefined || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MAX_SEED))
    return value as number | undefined;
  throw new LockOptionError("seed", show(value), `an integer from 0 to ${MAX_SEED}`);
}

function readDelay(value: unknown): number {
  const ms = milliseconds(value);
  if (ms >= 0 && ms <= MAX_DELAY) return ms;
  throw new LockOptionError("delay", show(value), `milliseconds from 0 to ${MAX_DELAY}, or such as "5s"`);
}
