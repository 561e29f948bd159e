import { LockOptionError, show } from "../errors.ts";
import { type Duration, milliseconds } from "../time.ts";

const REQUEST_KINDS = [
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
const STREAM_KINDS = ["sseCut", "sseStall", "sseRefuse"] as const;
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
  chances: Partial<Record<FaultKind, number>>;
  seed: number | undefined;
  /** Milliseconds. */
  delay: number;
}

const MAX_SEED = 2 ** 32 - 1;
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
  const chances: FaultSettings["chances"] = {};
  for (const kind of FAULT_KINDS) {
    if (given[kind] !== undefined) chances[kind] = probability(kind, given[kind]);
  }
  atMostOne(REQUEST_KINDS, chances);
  atMostOne(STREAM_KINDS, chances);
  return { chances, seed: readSeed(given.seed), delay: readDelay(given.delay ?? "5s") };
}

function probability(kind: FaultKind, value: unknown): number {
  if (typeof value === "number" && value >= 0 && value <= 1) return value;
  throw new LockOptionError(kind, show(value), "a probability from 0 to 1");
}

/** A request meets one kind at most, so their chances share what there is. */
function atMostOne(kinds: readonly FaultKind[], chances: FaultSettings["chances"]): void {
  const used = kinds.filter((kind) => chances[kind]);
  const sum = used.reduce((total, kind) => total + (chances[kind] ?? 0), 0);
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

/** Says what befalls each request. */
export interface Chance {
  /** In place of all that was set before. */
  set(settings: FaultSettings): void;
  /** What is set, with the seed that the current sequence began with. */
  settings(): Faults;
  /** How often each kind was met since the server started. */
  fired(): Record<FaultKind, number>;
  /** What the next request meets. */
  request(): RequestFault | undefined;
  /** What the next stream meets, and after how many milliseconds it is cut. */
  stream(): { fault: StreamFault | undefined; cutAfter: number };
  /** Milliseconds. */
  delay(): number;
}

export function createChance(initial: FaultSettings): Chance {
  let { chances, delay } = initial;
  let seed = initial.seed ?? Math.floor(Math.random() * (MAX_SEED + 1));
  let sequences = sequencesOf(seed);
  const fired = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as Record<FaultKind, number>;

  function draw<Kind extends FaultKind>(kinds: readonly Kind[], random: number): Kind | undefined {
    let rest = random;
    for (const kind of kinds) {
      rest -= chances[kind] ?? 0;
      if (rest >= 0) continue;
      fired[kind]++;
      return kind;
    }
    return undefined;
  }

  return {
    set(settings) {
      ({ chances, delay } = settings);
      if (settings.seed === undefined) return;
      seed = settings.seed;
      sequences = sequencesOf(seed);
    },
    settings: () => ({ ...chances, seed, delay }),
    fired: () => ({ ...fired }),
    request: () => draw(REQUEST_KINDS, sequences.request()),
    stream() {
      const fault = draw(STREAM_KINDS, sequences.stream());
      return { fault, cutAfter: sequences.stream() * 1000 };
    },
    delay: () => delay,
  };
}

/** Two sequences, so that a stream opened sooner or later changes nothing for the requests around it. */
function sequencesOf(seed: number) {
  return { request: generator(seed), stream: generator(seed ^ 0x5bd1e995) };
}

/** Numbers from 0 up to 1, the same for the same seed: the generator known as mulberry32. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
