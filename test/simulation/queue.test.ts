import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { LockBusyError, type Locker, type LockOptions } from "../../src/index.ts";
import { newLocker } from "../../src/locker.ts";
import { defaults } from "../../src/options.ts";
import { connect } from "../../src/redis/connection.ts";
import { sleep } from "../../src/time.ts";
import { calm, type Faults, type SimulatedProcess, World } from "./world.ts";

// Histories of the real client and the real scripts on a virtual clock and a virtual network. A failing run
// prints the seed and path that replay it: HISTORY_SEED=… HISTORY_PATH=… npx vitest run test/simulation
const runs = Number(process.env.HISTORIES ?? 2000);
const seed = Number(process.env.HISTORY_SEED ?? Date.now() % 1_000_000_000);
const path = process.env.HISTORY_PATH;

afterEach(() => {
  vi.useRealTimers();
});

const weather: Record<string, Faults> = {
  calm,
  lossy: { loseRequest: 0.1, loseReply: 0.15, repeat: 0.1, delay: 0.05, loseMessage: 0.2, breakStream: 0.2 },
  slow: { loseRequest: 0, loseReply: 0.05, repeat: 0.2, delay: 0.3, loseMessage: 0, breakStream: 0 },
  "without streams": { ...calm, breakStream: 1 },
};

/** What one contender does: when it asks, how long it waits and works, and what becomes of it. */
interface Part {
  process: number;
  kind: "ours" | "foreign";
  start: number;
  wait: number;
  ttl: number;
  work: number;
  renew: boolean;
  fencing: boolean;
  fate: "finishes" | "crashes" | "freezes" | "is aborted";
  /** When its fate comes, counted from its start. */
  after: number;
  /** How long it is frozen. */
  long: number;
}

const patient = 600_000;

const part = fc.record<Part>({
  process: fc.nat(3),
  kind: fc.constantFrom("ours", "ours", "ours", "ours", "ours", "ours", "ours", "foreign"),
  start: fc.nat(3000),
  wait: fc.constantFrom(patient, patient, patient, 0, 300, 5000),
  ttl: fc.integer({ min: 300, max: 4000 }),
  work: fc.constantFrom(0, 20, 300, 3000, 3000),
  renew: fc.boolean(),
  fencing: fc.constantFrom(false, false, true),
  fate: fc.constantFrom("finishes", "finishes", "finishes", "crashes", "freezes", "freezes", "is aborted"),
  after: fc.nat(5000),
  long: fc.integer({ min: 50, max: 9000 }),
});

const history = fc.record({
  seed: fc.noShrink(fc.integer()),
  weather: fc.constantFrom(...Object.keys(weather)),
  extended: fc.boolean(),
  parts: fc.array(part, { minLength: 2, maxLength: 10, size: "max" }),
});

test(`no history of ${runs} makes two holders, starves a live waiter, or leaves a key (seed ${seed})`, async () => {
  const counts = { histories: 0, acquired: 0, handedOver: 0, busy: 0, unavailable: 0, lost: 0 };
  await fc.assert(
    fc.asyncProperty(history, async (plan) => {
      const world = await World.create(plan.seed, weather[plan.weather] as Faults, plan.extended);
      const processes = Array.from({ length: 4 }, () => world.addProcess());
      const holders = new Map<object, { process: SimulatedProcess; isHeld(): boolean; name: string }>();
      const fail = (what: string) => {
        throw new Error(`${what} at ${world.now} ms\n${world.trace.join("\n")}`);
      };
      const served = plan.parts.map((each, index) =>
        each.kind === "ours"
          ? contend(world, processes[each.process] as SimulatedProcess, each, `#${index}`, holders, counts)
          : contendAsForeigner(
              world,
              processes[each.process] as SimulatedProcess,
              each,
              `#${index}`,
              holders,
            ),
      );
      await world.run(patient + 60_000, () => {
        const now = [...holders.values()].filter(({ process, isHeld }) => process.running && isHeld());
        if (now.length > 1) fail(`${now.map(({ name }) => name).join(" and ")} both hold the lock`);
      });

      const left = (await world.ask("KEYS", "*")) as string[];
      if (left.some((key) => !key.endsWith(":fence"))) fail(`left behind: ${left.join(", ")}`);
      plan.parts.forEach((each, index) => {
        const { verdict } = served[index] as { verdict: string };
        // Frozen while it asks, a contender may find that the lease it got is over already.
        const { crashed, frozenUntil } = processes[each.process] as SimulatedProcess;
        const hindered = crashed || frozenUntil > 0 || each.fate === "is aborted";
        const excused = hindered || each.kind === "foreign" || each.wait < patient;
        if (!excused && verdict !== "held" && (plan.weather === "calm" || verdict !== "unavailable")) {
          fail(`#${index} waited patiently and ended as ${verdict || "nothing"}`);
        }
      });
      world.close();
      counts.histories++;
    }),
    { numRuns: runs, seed, ...(path && { path }), endOnFailure: false, interruptAfterTimeLimit: 600_000 },
  );
  console.log(JSON.stringify(counts));
  // A run in which nothing happened would prove nothing.
  expect(counts.histories).toBeGreaterThanOrEqual(path ? 0 : runs);
  if (!path) for (const count of Object.values(counts)) expect(count).toBeGreaterThan(runs / 100);
}, 900_000);

test("in calm weather the lock is given in the order in which it was asked for", async () => {
  for (let round = 0; round < 10; round++) {
    const world = await World.create(seed + round, calm, true);
    const order: number[] = [];
    for (let i = 0; i < 40; i++) {
      const process = world.addProcess();
      const locker = lockerOf(process);
      // Farther apart than the network may shuffle them.
      world.schedule(i * 150, async () => {
        void locker.withLock("k", { wait: "1h" }, async () => {
          order.push(i);
          await sleep(process.runtime, 600);
        });
      });
    }
    await world.run(60_000, () => {});
    world.close();
    expect(order).toEqual(Array.from({ length: 40 }, (_, i) => i));
  }
}, 120_000);

test.each([1, 2, 3, 4, 5, 6])(
  "a grant whose message reaches a frozen process late is not believed in (%i)",
  async (n) => {
    const world = await World.create(n, calm, true);
    const [first, frozen, next] = [world.addProcess(), world.addProcess(), world.addProcess()];
    const holding: string[] = [];
    const both: string[] = [];
    const contender = (name: string, process: SimulatedProcess, start: number, work: number) =>
      world.schedule(start, async () => {
        void lockerOf(process).withLock("k", { wait: "1h" }, async (lock) => {
          if (lock.held) holding.push(name);
          if (holding.length > 1) both.push(holding.join(" and "));
          await sleep(process.runtime, work);
          holding.splice(holding.indexOf(name), 1);
        });
      });
    contender("the first", first, 0, 1000);
    contender("the frozen", frozen, 200, 3000);
    contender("the next", next, 400, 9000);
    // From before its grant until after that has lapsed and the next one holds the lock.
    world.schedule(900, () => {
      frozen.frozenUntil = 8000;
    });
    await world.run(60_000, () => {});
    expect(world.trace.some((line) => /^ +\d{3,4} to p1: /.test(line))).toBe(true);
    expect(both).toEqual([]);
    expect(holding).toEqual([]);
    world.close();
  },
);

function lockerOf(process: SimulatedProcess): Locker {
  return newLocker(connect(process.client, process.runtime), defaults);
}

interface Counts {
  acquired: number;
  handedOver: number;
  busy: number;
  unavailable: number;
  lost: number;
}

type Holders = Map<object, { process: SimulatedProcess; isHeld(): boolean; name: string }>;

function contend(
  world: World,
  process: SimulatedProcess,
  plan: Part,
  name: string,
  holders: Holders,
  counts: Counts,
): { verdict: string } {
  const result = { verdict: "" };
  const abort = new AbortController();
  const { wait, ttl, renew, fencing } = plan;
  const options: LockOptions = {
    ...{ wait, ttl, renew, fencing, owner: name, signal: abort.signal, requestTimeout: 1000 },
    onEvent(event) {
      if (event.type === "acquired" && event.granted) counts.handedOver++;
    },
  };

  world.schedule(plan.start, () => void run(), process);
  if (plan.fate !== "finishes") {
    world.schedule(plan.start + plan.after, () => {
      world.log(`${process.name} ${plan.fate}`);
      if (plan.fate === "crashes") process.crashed = true;
      else if (plan.fate === "freezes") process.frozenUntil = world.now + plan.long;
      else if (process.running) abort.abort(new Error("aborted"));
    });
  }

  async function run() {
    try {
      const lock = await lockerOf(process).acquire("k", options);
      world.log(`${name} holds it for ${Math.round(lock.remaining)} ms`);
      result.verdict = "held";
      counts.acquired++;
      const holder = { process, name, isHeld: () => lock.held };
      holders.set(lock, holder);
      const end = world.now + plan.work;
      while (world.now < end && !lock.signal.aborted)
        await sleep(process.runtime, Math.min(50, end - world.now));
      holders.delete(lock);
      world.log(`${name} releases it`);
      if (!(await lock.release())) counts.lost++;
    } catch (error) {
      if (result.verdict) return;
      if (error instanceof LockBusyError) result.verdict = "busy";
      else result.verdict = abort.signal.aborted ? "aborted" : "unavailable";
      if (result.verdict !== "aborted") counts[result.verdict as "busy"]++;
      world.log(`${name} is turned away: ${result.verdict}`);
    }
  }
  return result;
}

/** A client that knows nothing of us: SET NX, and compare and delete, as @upstash/lock does. */
function contendAsForeigner(
  world: World,
  process: SimulatedProcess,
  plan: Part,
  name: string,
  holders: Holders,
): { verdict: string } {
  const result = { verdict: "" };
  world.schedule(
    plan.start,
    async () => {
      const value = world.uuid();
      if ((await world.ask("SET", "lock:{k}", value, "NX", "PX", plan.ttl)) !== "OK") return;
      world.log(`${name}, a foreigner, holds it`);
      result.verdict = "held";
      const until = world.now + plan.ttl;
      holders.set(result, { process, name, isHeld: () => world.now < until });
      world.schedule(Math.min(plan.work, plan.ttl), async () => {
        holders.delete(result);
        if ((await world.ask("GET", "lock:{k}")) === value) await world.ask("DEL", "lock:{k}");
      });
    },
    process,
  );
  return result;
}
