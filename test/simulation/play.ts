import { Contender, contendAsForeigner, type Surroundings } from "./contender.ts";
import type { Engine } from "./engine.ts";
import type { Library } from "./library.ts";
import { Network } from "./network.ts";
import { type Mishap, type Plan, patient, type ServerMishap, weathers } from "./plan.ts";
import { SimulatedProcess } from "./process.ts";
import { Random } from "./random.ts";
import { Referee } from "./referee.ts";
import { Server } from "./server.ts";
import type { Tally } from "./tally.ts";
import { Timeline } from "./timeline.ts";

/** When all is over: who waits longest has had its turn, and the last lease, queue and mark have run out. */
const end = patient + 60_000;

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
  await engine.command("FLUSHALL");
  const random = new Random(plan.seed);
  const timeline = new Timeline(random);
  const server = new Server(engine, timeline, plan.extended, library);
  const referee = new Referee(timeline, server);
  const weather = weathers[plan.weather];
  const network = new Network(timeline, random, server, weather, tally);
  const write = log && ((step: string) => log(`${String(timeline.now).padStart(7)} ${step}`));
  server.log = write;

  const disturbed = new Set<SimulatedProcess>();
  const processes = plan.processes.map(({ drift, resends, mishaps }, index) => {
    const process = new SimulatedProcess(timeline, random, network, { speed: 1 + drift / 1000, resends });
    if (mishaps.length > 0) disturbed.add(process);
    for (const mishap of mishaps)
      timeline.schedule(mishap.at, () => {
        write?.(`process ${index} ${mishap.kind} (${mishap.ms} ms)`);
        tally.count(mishap.kind);
        befall(process, mishap, mishaps);
      });
    return process;
  });
  for (const mishap of plan.server)
    timeline.schedule(mishap.at, () => {
      write?.(`${mishap.kind} (${mishap.ms} ms)`);
      tally.count(mishap.kind);
      return befallServer(server, mishap, referee, timeline);
    });

  const reliable = weather.loseReply === 0 && weather.delay === 0;
  const down = plan.server.some(({ kind }) => kind === "the server is down");
  const around: Surroundings = {
    ...{ library, timeline, server, referee, tally },
    log: (step) => write?.(step),
    repeats: weather.repeat > 0,
    undisturbed: (process) => reliable && !down && !disturbed.has(process),
  };
  const lockers = processes.map(({ client, runtime }) =>
    library.newLocker(library.connect(client, runtime), library.defaults),
  );
  const contenders = plan.parts.flatMap((part, index) => {
    const process = processes[part.process] as SimulatedProcess;
    const name = `#${index}`;
    if (part.kind === "foreigner") return contendAsForeigner(around, process, part, name) ?? [];
    return new Contender(around, process, lockers[part.process] as (typeof lockers)[0], part, name);
  });

  const quiet = await timeline.run(end, referee.check);
  const left = ((await server.ask("KEYS", "*")) as string[]).filter((key) => !key.endsWith(":fence"));
  if (left.length > 0) referee.fail(`left behind: ${left.join(", ")}`);
  if (!quiet) referee.fail("something is still to happen, when all should be over");
  if (network.open > 0) referee.fail("a stream was left open");
  for (const contender of contenders) contender.check();
  tally.count("histories");
  return referee.violation;
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

async function befallServer(
  server: Server,
  { kind, ms }: ServerMishap,
  referee: Referee,
  timeline: Timeline,
) {
  if (kind === "the server is down") server.downUntil = timeline.now + ms;
  // Set forward, it would end leases early: no lease is safe from that.
  else if (kind === "the server sets its clock back") await server.setClock(-ms);
  else {
    if (server.occupant !== undefined) referee.robs(server.occupant);
    await server.deleteLock();
  }
}
