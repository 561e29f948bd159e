import { readArgs, refuse, reportHelp, wholeNumber } from "./report.ts";
import type { Plan } from "./rounds.ts";
import { seeded } from "./stats.ts";
import { waiterNames } from "./waiters.ts";

/** What the benchmarks that play rounds differ in. */
interface Script {
  /** Its file, from the repository's root. */
  file: string;
  /** What it shows, in a sentence. */
  about: string;
  /** Its default time between two arrivals, in ms. */
  stagger: number;
  /** How many hand-overs of each crowd its rounds make by default. */
  handovers: number;
}

/** Reads the command line of a benchmark that plays rounds. */
export function readPlan({ file, about, stagger, handovers }: Script) {
  const help = `Usage: node ${file} [options]

${about}

A holder takes a lock, a crowd waits for it, each works under it for a while and lets it go. The crowd is spread over
client processes in turn, so that each hand-over goes to another process; the dev server has one of its own. A round
has every library once, in random order, each with a fresh key.

Options:
  --crowds <list>     How many wait (default: 5,20,50,100)
  --rtts <list>       Simulated round trips in ms (default: 5,20,80)
  --work <ms>         How long each works under the lock (default: 20)
  --stagger <ms>      Between two arrivals (default: ${stagger})
  --rounds <n>        Rounds of each crowd at each round trip (default: as many as make ${handovers} hand-overs)
  --libraries <list>  Of ${waiterNames.map((name) => `"${name}"`).join(", ")}
                      (default: all, separated by ";")
  --processes <n>     Client processes (default: 2)
  --redis <url>       The Redis behind the dev server (default: its embedded engine)
  --seed <n>          Of the order within a round (default: 1)
  --svg <dir>         Also draw the plots there
${reportHelp}`;
  const args = readArgs(help, {
    crowds: { type: "string", default: "5,20,50,100" },
    rtts: { type: "string", default: "5,20,80" },
    work: { type: "string", default: "20" },
    stagger: { type: "string", default: `${stagger}` },
    rounds: { type: "string" },
    libraries: { type: "string", default: waiterNames.join(";") },
    processes: { type: "string", default: "2" },
    redis: { type: "string" },
    seed: { type: "string", default: "1" },
    svg: { type: "string" },
  });
  const named = args.libraries.split(";");
  const libraries = waiterNames.filter((name) => named.includes(name));
  if (libraries.length < named.length) refuse("libraries", args.libraries, "names as --help lists them");
  const rounds = args.rounds === undefined ? undefined : wholeNumber("rounds", args.rounds, 1);
  const plan: Plan = {
    crowds: args.crowds.split(",").map((text) => wholeNumber("crowds", text, 1)),
    roundTrips: args.rtts.split(",").map((text) => wholeNumber("rtts", text, 1)),
    work: wholeNumber("work", args.work, 1),
    stagger: wholeNumber("stagger", args.stagger, 0),
    rounds: (crowd) => rounds ?? Math.ceil(handovers / crowd),
    libraries,
    processes: wholeNumber("processes", args.processes, 1),
    redis: args.redis,
    random: seeded(wholeNumber("seed", args.seed, 0)),
  };
  return { plan, args };
}
