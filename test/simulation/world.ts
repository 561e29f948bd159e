import type { Engine } from "./engine.ts";
import type { Library } from "./library.ts";
import { type Faults, Network } from "./network.ts";
import { SimulatedProcess } from "./process.ts";
import { Random } from "./random.ts";
import { Server } from "./server.ts";
import type { Tally } from "./tally.ts";
import { Timeline } from "./timeline.ts";

export interface WorldOptions {
  seed: number;
  faults: Faults;
  /** Whether the server has the commands that Upstash has and Redis before 8.4 lacks. */
  extended: boolean;
  library: Library;
  /** Flushed before. */
  engine: Engine;
  tally: Tally;
  /** What may be locked. @default "k" alone */
  keys?: readonly string[];
  /** Told of every command, and of what else is logged. */
  log?: ((step: string) => void) | undefined;
}

/** One server, its clients' processes, what lies between them, and one clock for all. */
export interface World {
  timeline: Timeline;
  server: Server;
  network: Network;
  addProcess(traits?: { speed: number; resends: boolean }): SimulatedProcess;
  lockerOf(process: SimulatedProcess): ReturnType<Library["newLocker"]>;
  log(step: string): void;
}

export async function createWorld(options: WorldOptions): Promise<World> {
  const { engine, library, tally } = options;
  await engine.command("FLUSHALL");
  const random = new Random(options.seed);
  const timeline = new Timeline(random);
  const log = (step: string) => options.log?.(`${String(timeline.now).padStart(7)} ${step}`);
  const server = new Server(engine, timeline, options.extended, library, options.keys);
  if (options.log) server.log = log;
  const network = new Network(timeline, random, server, options.faults, tally);
  return {
    timeline,
    server,
    network,
    log,
    addProcess: (traits = { speed: 1, resends: false }) =>
      new SimulatedProcess(timeline, random, network, traits),
    lockerOf({ client, runtime }) {
      const connection = library.connect(client, runtime);
      return library.newLocker(() => connection, library.defaults);
    },
  };
}
