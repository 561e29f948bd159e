import { setImmediate as turn } from "node:timers/promises";
import { type Contender, contenders } from "./lib/contenders.ts";
import {
  commandLine,
  formatEstimate,
  madeWith,
  progress,
  publish,
  readArgs,
  reportHelp,
  type Section,
  today,
  type Verdict,
  wholeNumber,
} from "./lib/report.ts";
import { type ServerProcess, startServer } from "./lib/server.ts";
import { median, quantile, ratioOfMedians, shuffled } from "./lib/stats.ts";

const help = `Usage: node bench/uncontended.ts [options]

Takes a free lock and releases it, in each of five ways, against one dev server in a process of its own. A round has
every way once, in random order, each with a fresh key; all ratios are of medians over the same rounds.

Options:
  --rounds <n>      Rounds at each round trip (default: 3000 without a round trip, 300 with one)
  --rtt <list>      Simulated round trips in ms (default: 0,20)
  --redis <url>     The Redis behind the dev server (default: its embedded engine)
${reportHelp}`;

const args = readArgs(help, {
  rounds: { type: "string" },
  rtt: { type: "string", default: "0,20" },
  redis: { type: "string" },
});
const roundTrips = args.rtt.split(",").map((text) => wholeNumber("rtt", text, 0));

/** What was seen of one contender. */
interface Sample {
  contender: Contender;
  requests: number;
  commands: number;
  /** Of each take and release, in the order of the rounds. */
  ms: number[];
}

const sections: Section[] = [];
const verdicts: Verdict[] = [];
let engine = "";

for (const rtt of roundTrips) {
  const rounds = args.rounds ? wholeNumber("rounds", args.rounds, 10) : rtt === 0 ? 3_000 : 300;
  const server = await startServer({ latency: rtt, redis: args.redis });
  try {
    engine = await server.engine();
    const samples = await sample(server, rounds, `${rtt} ms round trip`);
    sections.push(describe(samples, rtt, rounds));
    verdicts.push(...judge(samples, rtt));
  } finally {
    await server.close();
  }
}

const packages = ["serverless-lock", "@upstash/redis", "@upstash/lock"];
publish(
  {
    title: "Taking a free lock and releasing it",
    command: commandLine("bench/uncontended.ts"),
    date: today(),
    made: { ...madeWith(...packages), engine },
    sections,
    verdicts,
  },
  args,
);

async function sample(server: ServerProcess, rounds: number, label: string): Promise<Sample[]> {
  const all = contenders({ url: server.url, token: server.token });
  let keys = 0;
  const key = () => `bench:${process.pid}:${++keys}`;
  const warmUp = Math.ceil(rounds / 10);
  for (let round = 0; round < warmUp; round++) {
    for (const contender of all) await contender.takeAndRelease(key());
  }

  const samples: Sample[] = [];
  for (const contender of all) {
    await server.resetMeter();
    await contender.takeAndRelease(key());
    const { requests, commands } = await server.meter();
    samples.push({ contender, requests, commands, ms: [] });
  }

  await server.resetMeter();
  for (let round = 0; round < rounds; round++) {
    if (round % 10 === 0) progress(`${label}: round ${round} of ${rounds}`);
    for (const { contender, ms } of shuffled(samples)) {
      // What the one before left to do is done before the clock starts.
      await turn();
      const name = key();
      const start = performance.now();
      await contender.takeAndRelease(name);
      ms.push(performance.now() - start);
    }
  }
  progress("");

  const { requests } = await server.meter();
  const expected = rounds * samples.reduce((sum, each) => sum + each.requests, 0);
  // A client that sent something twice would be slow for another reason than its own work.
  if (requests !== expected) throw new Error(`${requests} requests in all, where ${expected} were expected`);
  return samples;
}

function describe(samples: Sample[], rtt: number, rounds: number): Section {
  const [floor] = samples as [Sample];
  const rows = samples.map((each) => [
    each.contender.name,
    `${each.requests}`,
    `${each.commands}`,
    median(each.ms).toFixed(3),
    quantile(each.ms, 0.99).toFixed(3),
    each === floor ? "1" : formatEstimate(ratioOfMedians(each.ms, floor.ms)),
  ]);
  return {
    title: `${rtt} ms round trip, ${rounds} rounds`,
    table: [["", "requests", "billed commands", "median ms", "p99 ms", "× bare fetches [95 %]"], ...rows],
    data: samples.map(({ contender, ...rest }) => ({ name: contender.name, ...rest })),
  };
}

function judge(samples: Sample[], rtt: number): Verdict[] {
  const [floor, builtIn] = samples as [Sample, Sample];
  const at = `at ${rtt} ms`;
  const theirs = samples.filter((each) => each !== floor && !each.contender.ours);
  const counts = samples
    .filter(({ contender }) => contender.ours)
    .map(({ contender, requests, commands }) => ({
      what: `${contender.name} ${at}: requests, billed commands`,
      wanted: "2, 2",
      seen: `${requests}, ${commands}`,
      pass: requests === 2 && commands === 2,
      exact: true,
    }));
  const toFloor = ratioOfMedians(builtIn.ms, floor.ms);
  const ratios = theirs.map((other) => {
    const ratio = ratioOfMedians(builtIn.ms, other.ms);
    const what = `${builtIn.contender.name} ${at}: × ${other.contender.name}`;
    return { what, wanted: "< 1", seen: formatEstimate(ratio), pass: ratio.value < 1, exact: false };
  });
  return [
    ...counts,
    {
      what: `${builtIn.contender.name} ${at}: × ${floor.contender.name}`,
      wanted: "≤ 1.10",
      seen: formatEstimate(toFloor),
      pass: toFloor.value <= 1.1,
      exact: false,
    },
    ...ratios,
  ];
}
