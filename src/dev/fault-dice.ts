import {
  FAULT_KINDS,
  type FaultKind,
  type FaultSettings,
  type Faults,
  MAX_SEED,
  REQUEST_KINDS,
  type RequestFault,
  STREAM_KINDS,
  type StreamFault,
} from "./faults.ts";

/** Says what befalls each request. */
export interface FaultDice {
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

export function createDice(initial: FaultSettings): FaultDice {
  let { odds, delay } = initial;
  let seed = initial.seed ?? Math.floor(Math.random() * (MAX_SEED + 1));
  let sequences = sequencesOf(seed);
  const fired = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as Record<FaultKind, number>;

  function draw<Kind extends FaultKind>(kinds: readonly Kind[], random: number): Kind | undefined {
    let rest = random;
    for (const kind of kinds) {
      rest -= odds[kind] ?? 0;
      if (rest >= 0) continue;
      fired[kind]++;
      return kind;
    }
    return undefined;
  }

  return {
    set(settings) {
      ({ odds, delay } = settings);
      if (settings.seed === undefined) return;
      seed = settings.seed;
      sequences = sequencesOf(seed);
    },
    settings: () => ({ ...odds, seed, delay }),
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
