import fc from "fast-check";
import type { Target } from "../../src/api.ts";
import type { Faults } from "./network.ts";

/** What one contender does: when it asks, how long it waits and works, and what else it does. In ms. */
export interface Part {
  process: number;
  /** A foreigner knows nothing of us: SET NX, and compare and delete, as `@upstash/lock` does. */
  kind: "ours" | "foreigner";
  start: number;
  wait: number;
  ttl: number;
  work: number;
  renew: boolean;
  fencing: boolean;
  holdFor: number;
  /** The lease it asks for in the middle of its work; 0 for none. */
  extendTo: number;
  /** When it is aborted, counted from its start. */
  abortAfter: number | undefined;
  /** What it asks for. @default the exclusive lock "k" */
  targets?: Target[];
  /** Whether it makes its locks shared ones after half of its work, if all are exclusive. */
  downgrade?: boolean;
  /** What comes of its work, if it asks for a result. */
  result?: ResultPlan | undefined;
  /** The process that goes on with its work after half of it, by the lock's handle; undefined for none. */
  resumedBy?: number | undefined;
}

/** In ms and bytes. */
export interface ResultPlan {
  keepFor: number;
  bytes: number;
  /** Whether its work throws in the end. */
  fails: boolean;
}

/** What the histories of a kind lock: nothing but one exclusive lock, or also what the name says. Those of `results` want it mostly for a result. */
export const kinds = ["exclusive", "permits", "readers", "several", "mixed", "operated", "results"] as const;
export type Kind = (typeof kinds)[number];

const keys = ["k", "l", "m"];

export interface Mishap {
  at: number;
  kind:
    | "crashes"
    | "freezes"
    | "is suspended"
    | "sets its clock forward"
    | "sets its clock back"
    | "loses its network";
  /** For how long, or how far. */
  ms: number;
}

interface ProcessPlan {
  /** How much too fast its clocks are, in ‰. */
  drift: number;
  /** Whether it asks as an `@upstash/redis` instance does, which sends again by itself. */
  resends: boolean;
  mishaps: Mishap[];
}

export interface ServerMishap {
  at: number;
  kind: "the lock is deleted" | "the server sets its clock back" | "the server is down";
  ms: number;
}

/** What somebody on call does, of whom only "operated" histories know. */
export interface OperatorAct {
  at: number;
  kind: "ends a lock" | "ends a lock now" | "pauses a lock" | "limits a lock";
  key: string;
  /** After how long a pause or a limit is taken back. */
  ms: number;
  limit: number;
}

/** One history: all that is decided before it begins. The rest follows from the seed. */
export interface Plan {
  /** @default "exclusive" */
  kind?: Kind;
  seed: number;
  engine: EngineName;
  weather: keyof typeof weathers;
  /** When the weather becomes calm, in ms. */
  clearsAt: number;
  /** Whether the server has the commands that Upstash has and Redis before 8.4 lacks. */
  extended: boolean;
  processes: ProcessPlan[];
  server: ServerMishap[];
  parts: Part[];
  operator?: OperatorAct[];
}

export type EngineName = "real" | "model";

const calm: Faults = {
  loseRequest: 0,
  loseReply: 0,
  repeat: 0,
  delay: 0,
  loseMessage: 0,
  breakStream: 0,
};

export const weathers = {
  calm,
  "without streams": { ...calm, breakStream: 1 },
  slow: { ...calm, loseReply: 0.05, delay: 0.3, loseMessage: 0.05 },
  lossy: { loseRequest: 0.1, loseReply: 0.15, repeat: 0.15, delay: 0.1, loseMessage: 0.2, breakStream: 0.2 },
} satisfies Record<string, Faults>;

/** Longer than all others together can need: who waits so long gets the lock. */
export const patient = 300_000;

const fewOf = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.constant<T[]>([]) },
    { weight: 1, arbitrary: fc.array(arbitrary, { minLength: 1, maxLength: 2 }) },
  );

const lease = fc.integer({ min: 300, max: 8000 });

const parts = {
  process: fc.nat(3),
  kind: fc.constantFrom(...Array<"ours">(9).fill("ours"), "foreigner"),
  start: fc.nat(3000),
  wait: fc.constantFrom(...Array<number>(6).fill(patient), 0, 300, 5000),
  ttl: lease,
  work: fc.constantFrom(0, 20, 300, 3000, 12_000, 12_000),
  renew: fc.boolean(),
  fencing: fc.constantFrom(false, false, true),
  holdFor: fc.constantFrom(0, 0, 0, 0, 0, 1500),
  extendTo: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: lease }),
  abortAfter: fc.oneof(
    { weight: 7, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.nat(5000) },
  ),
} satisfies { [Name in keyof Part]: fc.Arbitrary<Part[Name]> };

/** How a key is locked. */
type Way = Exclude<Target, string> extends infer Each ? Omit<Each, "key"> : never;

const exclusive: Way = {};
const shared: Way = { mode: "shared" };
/** Mostly of one limit. */
const permits: Way[] = [
  { limit: 3 },
  { limit: 3 },
  { limit: 3, weight: 2 },
  { limit: 3, weight: 3 },
  { limit: 2 },
  { limit: 5, weight: 4 },
  { limit: 1 },
];

const waysOf: Record<Exclude<Kind, "exclusive" | "results">, { keys: string[]; ways: Way[] }> = {
  permits: { keys: ["k"], ways: [...permits, ...permits, exclusive] },
  readers: { keys: ["k"], ways: [exclusive, shared, shared] },
  several: { keys, ways: [exclusive] },
  mixed: { keys, ways: [exclusive, exclusive, exclusive, shared, shared, shared, ...permits] },
  operated: {
    keys: ["k", "l"],
    ways: [exclusive, exclusive, exclusive, exclusive, shared, shared, ...permits],
  },
};

const result: fc.Arbitrary<ResultPlan | undefined> = fc.option(
  fc.record({
    keepFor: fc.constantFrom(0, 100, 1000, 4000, 60_000),
    // Too long for a message, or not.
    bytes: fc.constantFrom(0, 0, 5000),
    fails: fc.constantFrom(false, false, false, true),
  }),
  { nil: undefined, freq: 6 },
);
/** The keys that histories of a kind know. */
export function keysOf(kind: Kind = "exclusive"): readonly string[] {
  return kind === "exclusive" || kind === "results" ? ["k"] : waysOf[kind].keys;
}

function partOf(kind: Kind): fc.Arbitrary<Part> {
  if (kind === "exclusive") return fc.record(parts);
  if (kind === "results") return fc.record({ ...parts, start: fc.nat(8000), result });
  const { keys, ways } = waysOf[kind];
  return fc.record({
    ...parts,
    targets: fc
      .tuple(
        // The order in which they are given is any.
        fc.shuffledSubarray(keys, { minLength: 1 }),
        fc.tuple(...keys.map(() => fc.constantFrom(...ways))),
      )
      .map(([some, ways]) => some.map((key, i): Target => ({ key, ...ways[i] }))),
    downgrade: fc.constantFrom(false, false, true),
    resumedBy: fc.constantFrom(...Array<undefined>(6).fill(undefined), 0, 1, 2, 3),
  });
}

const mishap: fc.Arbitrary<Mishap> = fc.record({
  at: fc.nat(6000),
  kind: fc.constantFrom(
    "crashes",
    "freezes",
    "freezes",
    "is suspended",
    "is suspended",
    "sets its clock forward",
    "sets its clock back",
    "loses its network",
  ),
  ms: fc.integer({ min: 50, max: 9000 }),
});

const process: fc.Arbitrary<ProcessPlan> = fc.record({
  // Against the server's clock; a lease allows for 10 ‰.
  drift: fc.constantFrom(0, -9, 9),
  resends: fc.constantFrom(false, false, false, true),
  mishaps: fewOf(mishap),
});

const serverMishap: fc.Arbitrary<ServerMishap> = fc.record({
  at: fc.nat(8000),
  kind: fc.constantFrom("the lock is deleted", "the server sets its clock back", "the server is down"),
  ms: fc.integer({ min: 50, max: 5000 }),
});

const operatorAct: fc.Arbitrary<OperatorAct> = fc.record({
  at: fc.nat(8000),
  kind: fc.constantFrom(
    "ends a lock",
    "ends a lock",
    "ends a lock",
    "ends a lock now",
    "pauses a lock",
    "limits a lock",
  ),
  key: fc.constantFrom(...waysOf.operated.keys),
  ms: fc.integer({ min: 50, max: 5000 }),
  limit: fc.integer({ min: 1, max: 5 }),
});

/** @param engines what the histories may run on, each as often as it is named */
export function plans(engines: EngineName[], kind: Kind = "exclusive"): fc.Arbitrary<Plan> {
  return fc.record({
    ...(kind !== "exclusive" && { kind: fc.constant(kind) }),
    seed: fc.noShrink(fc.integer()),
    engine: fc.constantFrom(...engines),
    weather: fc.constantFrom(...(Object.keys(weathers) as (keyof typeof weathers)[])),
    clearsAt: fc.constantFrom(5000, 20_000, 48 * 3_600_000),
    extended: fc.boolean(),
    processes: fc.array(process, { minLength: 4, maxLength: 4 }),
    server: fewOf(serverMishap),
    parts: fc.array(partOf(kind), { minLength: 2, maxLength: 10, size: "max" }),
    ...(kind === "operated" && { operator: fc.array(operatorAct, { minLength: 1, maxLength: 6 }) }),
  });
}
