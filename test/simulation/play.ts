import { Contender, contendAsForeigner, type Surroundings } from "./contender.ts";
import type { Engine } from "./engine.ts";
import { Flight } from "./flight.ts";
import type { Library } from "./library.ts";
import { operate } from "./operator.ts";
import { keysOf, type Mishap, type Part, type Plan, type ServerMishap, weathers } from "./plan.ts";
import type { SimulatedProcess } from "./process.ts";
import { Referee } from "./referee.ts";
import { Results } from "./results.ts";
import type { Tally } from "./tally.ts";
import { createWorld, type World } from "./world.ts";

/** Two days: all is over by then, and every key has run out, the fencing counter last. */
const end = 48 * 3_600_000;

/** In ms: how long a fault is felt. A request may be late by 8 s, and is given up after 2 s; then it is asked anew. */
const aftermath = 12_000;

/**
 * Plays one history. Resolves to what happened in it that must not happen, if anything did.
 * @param log told of every step
 */
export async function play(
  plan: Plan,
  library: Library,
  engine: Engine,
  tally: Tally,
  log?: (step: string) => void,
): Promise<string | undefined> {
  const { seed, extended } = plan;
  const faults = weathers[plan.weather];
  const known = keysOf(plan.kind);
  const world = await createWorld({ seed, faults, extended, library, engine, tally, keys: known, log });
  const { timeline, server, network } = world;
  const referee = new Referee(timeline, server);

  const processes = plan.processes.map(({ drift, resends }) =>
    world.addProcess({ speed: 1 + drift / 1000, resends }),
  );
  plan.processes.forEach(({ mishaps }, index) => {
    for (const mishap of mishaps)
      timeline.schedule(mishap.at, () => {
        world.log(`process ${index} ${mishap.kind} (${mishap.ms} ms)`);
        tally.count(mishap.kind);
        befall(processes[index] as SimulatedProcess, mishap, mishaps);
      });
  });
  for (const mishap of plan.server)
    timeline.schedule(mishap.at, () => {
      world.log(`${mishap.kind} (${mishap.ms} ms)`);
      tally.count(mishap.kind);
      return befallServer(world, mishap, referee);
    });

  const around = { ...world, library, referee, tally, ...circumstances(plan, processes) };
  const contenders = enter(plan, processes, around);
  if (plan.operator) {
    const process = world.addProcess();
    const desk = { ...world, library, tally, process, locker: world.lockerOf(process) };
    operate(desk, plan.operator, known);
  }
  network.clearsAt = plan.clearsAt;
  const calmFrom = lastFault(plan) + aftermath;
  const quiet = await timeline.run(end, () => {
    for (const { mode, together } of referee.check()) if (together > 1) tally.count(togetherBy[mode] ?? "");
    const waiting = timeline.now >= calmFrom ? contenders.filter(({ waits }) => waits) : [];
    referee.checkLiveness(new Map(waiting.map(({ name, shares }) => [name, shares])));
  });
  const left = (await server.ask("KEYS", "*")) as string[];
  if (left.length > 0) referee.fail(`left behind: ${left.join(", ")}`);
  if (!quiet) referee.fail("something is still to happen, when all should be over");
  if (network.open > 0) referee.fail("a stream was left open");
  for (const contender of contenders) contender.check();
  tally.count("histories");
  return referee.violation;
}

const togetherBy: Record<string, string> = { permit: "permitsTogether", s: "readersTogether" };

/** When the last thing goes wrong that goes wrong by itself. */
function lastFault({ weather, clearsAt, processes, server }: Plan): number {
  const mishaps = [...processes.flatMap((process) => process.mishaps), ...server];
  const constant = weather === "calm" || weather === "without streams";
  return Math.max(constant ? 0 : clearsAt, ...mishaps.map(({ at, ms }) => at + ms));
}

function circumstances(plan: Plan, processes: SimulatedProcess[]) {
  const { loseReply, delay, repeat } = weathers[plan.weather];
  const reliable = loseReply === 0 && delay === 0;
  const down = plan.server.some(({ kind }) => kind === "the server is down");
  const disturbed = new Set(processes.filter((_, index) => plan.processes[index]?.mishaps.length));
  const setBack = plan.server.some(({ kind }) => kind === "the server sets its clock back");
  const fast = new Set(
    processes.filter((_, index) =>
      plan.processes[index]?.mishaps.some(({ kind }) => kind === "sets its clock forward"),
    ),
  );
  return {
    tellsTime: (process: SimulatedProcess) => !setBack && !fast.has(process),
    repeats: repeat > 0,
    undisturbed: (process: SimulatedProcess) => reliable && !down && !disturbed.has(process),
  };
}

function enter(
  plan: Plan,
  processes: SimulatedProcess[],
  around: Surroundings & World,
): (Contender | Flight)[] {
  const { timeline, server, referee } = around;
  const results = plan.kind === "results" ? new Results(timeline, server, referee) : undefined;
  const lockers = processes.map(around.lockerOf);
  const heirOf = ({ resumedBy = -1 }: Part) => {
    const [process, locker] = [processes[resumedBy], lockers[resumedBy]];
    return process && locker && { process, locker };
  };
  return plan.parts.flatMap((part, index) => {
    const [process, locker] = [processes[part.process], lockers[part.process]];
    const name = `#${index}`;
    if (!process || !locker) throw new Error(`there is no process ${part.process}`);
    const { result } = part;
    if (part.kind === "ours" && result && results)
      return new Flight(around, { process, locker, part, result, name, results });
    if (part.kind === "ours")
      return new Contender(around, { process, locker, part, name, heir: heirOf(part) });
    contendAsForeigner(around, process, part, name);
    return [];
  });
}

function befall(process: SimulatedProcess, { kind, ms }: Mishap, all: Mishap[]): void {
  if (kind === "crashes") process.crash();
  else if (kind === "freezes") process.freeze(ms);
  else if (kind === "is suspended") process.suspend(ms);
  else if (kind === "sets its clock forward") process.setWallClock(ms);
  else if (kind === "loses its network") process.loseNetwork(ms);
  // Set back while the other clock stands still, no clock would tell that time passes.
  else if (!all.some((other) => other.kind === "is suspended")) process.setWallClock(-ms);
}

async function befallServer({ server, timeline }: World, { kind, ms }: ServerMishap, referee: Referee) {
  if (kind === "the server is down") server.downUntil = timeline.now + ms;
  // Set forward, it would end leases early: no lease is safe from that.
  else if (kind === "the server sets its clock back") await server.setClock(-ms);
  else {
    for (const key of server.keys) for (const { name } of server.presentAt(key)) referee.robs(name);
    await server.deleteLocks();
  }
}
