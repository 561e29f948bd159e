import { lineChart } from "./lib/chart.ts";
import { now, type Person, startCrowd, type Turn } from "./lib/crowd.ts";
import {
  commandLine,
  madeWith,
  progress,
  publish,
  readArgs,
  refuse,
  reportHelp,
  today,
  type Verdict,
  wholeNumber,
  writeTo,
} from "./lib/report.ts";
import { startServer } from "./lib/server.ts";
import { startSlowTcp } from "./lib/slow-tcp.ts";
import { median, seeded, shuffled } from "./lib/stats.ts";
import { isOurs, type WaiterName } from "./lib/waiters.ts";

const file = "bench/permits.ts";
const help = `Usage: node ${file} [options]

How busy a crowd keeps the permits of one key, and what each permit costs. All permits are held, the crowd waits for them,
and each works once under one. redis-semaphore does the same on the same Redis, over TCP with the same round trip.

Options:
  --redis <url>       The Redis of all (needed)
  --crowd <n>         How many wait (default: 50)
  --permits <n>       How many may work at once (default: 5)
  --rtts <list>       Simulated round trips in ms (default: 0,5,20)
  --work <ms>         How long each works (default: 20)
  --rounds <n>        Of each library at each round trip, in random order (default: 10)
  --processes <n>     Client processes (default: 2)
  --seed <n>          Of the order within a round (default: 1)
  --svg <dir>         Also draw the plot there
${reportHelp}`;
const args = readArgs(help, {
  redis: { type: "string" },
  crowd: { type: "string", default: "50" },
  permits: { type: "string", default: "5" },
  rtts: { type: "string", default: "0,5,20" },
  work: { type: "string", default: "20" },
  rounds: { type: "string", default: "10" },
  processes: { type: "string", default: "2" },
  seed: { type: "string", default: "1" },
  svg: { type: "string" },
});
const redis = args.redis ?? refuse("redis", "missing", "the URL of a Redis");
const crowd = wholeNumber("crowd", args.crowd, 1);
const permits = wholeNumber("permits", args.permits, 1);
const work = wholeNumber("work", args.work, 1);
const rounds = wholeNumber("rounds", args.rounds, 1);
const random = seeded(wholeNumber("seed", args.seed, 0));
const roundTrips = args.rtts.split(",").map((text) => wholeNumber("rtts", text, 0));
const libraries: WaiterName[] = [
  "serverless-lock",
  "serverless-lock, given an @upstash/redis",
  "redis-semaphore over TCP",
];
const wantedCommands = 14;
/** Rounds of each library before those that count. */
const warmUp = 2;

interface Cell {
  library: WaiterName;
  rtt: number;
  /** One a round: the share of the time in which the permits were busy, while somebody waited. */
  busy: number[];
  /** As much work by as many permits, each handed over in one round trip, over what it took. */
  best: number[];
  /** Per permit taken. */
  requests: number[];
  commands: number[];
}

const clients = startCrowd(wholeNumber("processes", args.processes, 1));
const cells: Cell[] = [];
let engine = "";
try {
  for (const rtt of roundTrips) cells.push(...(await playAt(rtt)));
} finally {
  await clients.close();
}
progress("");
if (args.svg) draw(args.svg);
const own = cells.filter(({ library }) => isOurs(library));
publish(
  {
    title: `A crowd of ${crowd} on ${permits} permits`,
    command: commandLine(file),
    date: today(),
    made: { ...madeWith("serverless-lock", "@upstash/redis"), engine },
    note: "Busy: the time worked under permits between the first release and the start of the last work, over what it would be were all permits busy all the time. × best: that over what any lock can reach that hands a permit over in one round trip. Requests and billed commands: per permit taken, the first holders' included. The median of the rounds. redis-semaphore asks every 10 ms over connections that it keeps; it serves in no order.",
    sections: roundTrips.map((rtt) => ({
      title: `${rtt} ms round trip, ${work} ms of work`,
      table: [
        ["", "busy", "× best", "requests", "billed commands"],
        ...cells.filter((cell) => cell.rtt === rtt).map(row),
      ],
      data: cells.filter((cell) => cell.rtt === rtt),
    })),
    verdicts: own.map(({ library, rtt, commands }): Verdict => {
      const seen = Math.max(...commands);
      return {
        what: `${library} at ${rtt} ms: billed commands per queued permit, the worst round`,
        wanted: `≤ ${wantedCommands}`,
        seen: seen.toFixed(1),
        pass: seen <= wantedCommands,
        exact: false,
      };
    }),
    plots: args.svg ? [{ title: "How busy the permits are", file: "permits.svg" }] : [],
  },
  args,
);

function row({ library, busy, best, requests, commands }: Cell): string[] {
  const cost = (all: number[], digits: number) => (all.length ? median(all).toFixed(digits) : "–");
  return [library, median(busy).toFixed(2), median(best).toFixed(2), cost(requests, 2), cost(commands, 1)];
}

async function playAt(rtt: number): Promise<Cell[]> {
  const server = await startServer({ latency: rtt, redis });
  const tcp = await startSlowTcp(redis, rtt);
  engine = await server.engine();
  const all = libraries.map(
    (library): Cell => ({
      library,
      rtt,
      busy: [],
      best: [],
      requests: [],
      commands: [],
    }),
  );
  try {
    for (let round = 1; round <= warmUp + rounds; round++) {
      for (const cell of shuffled(all, random)) {
        progress(`${rtt} ms, round ${round} of ${warmUp + rounds}: ${cell.library}`);
        await server.resetMeter();
        const url = isOurs(cell.library) ? server.url : tcp.url;
        const turns = await clients.run({
          waiter: cell.library,
          credentials: { url, token: server.token },
          key: `bench:${crypto.randomUUID()}`,
          people: people(rtt),
        });
        const { requests, commands } = await server.meter();
        if (round <= warmUp) continue;
        const busy = shareBusy(turns);
        cell.busy.push(busy);
        cell.best.push((busy * (work + rtt)) / work);
        if (!isOurs(cell.library)) continue;
        cell.requests.push(requests / turns.length);
        cell.commands.push(commands / turns.length);
      }
    }
  } finally {
    await tcp.close();
    await server.close();
  }
  return all;
}

/** The first hold all permits until the crowd has asked, and let them go evenly spread over one work. */
function people(rtt: number): Person[] {
  const begin = now() + 20;
  const lead = 4 * rtt + 200;
  const settled = lead + 4 * rtt + 500;
  return Array.from({ length: permits + crowd }, (_, i): Person => {
    const first = i < permits;
    return {
      index: i,
      at: first ? begin : begin + lead,
      work: first ? settled + (i * work) / permits : work,
      kind: { limit: permits },
    };
  });
}

/** From the first release until nobody waits any more. */
function shareBusy(turns: Turn[]): number {
  const from = Math.min(...turns.map(({ ended }) => ended));
  const to = Math.max(...turns.map(({ started }) => started));
  const worked = turns.map(({ started, ended }) => Math.min(ended, to) - Math.max(started, from));
  return worked.reduce((sum, ms) => sum + Math.max(0, ms), 0) / (permits * (to - from));
}

function draw(folder: string): void {
  const chart = {
    title: "How busy the permits are",
    wanted: "all permits busy all the time",
    across: "round trip in ms",
    // The axis is logarithmic.
    ticks: roundTrips.map((rtt) => Math.max(rtt, 1)),
    panels: [
      {
        title: `${crowd} waiting for ${permits} permits`,
        wanted: 1,
        lines: libraries.map((library) => ({
          name: library,
          points: cells
            .filter((cell) => cell.library === library)
            .map(({ rtt, busy }): [number, number] => [Math.max(rtt, 1), median(busy)]),
        })),
      },
    ],
  };
  writeTo(`${folder}/permits.svg`, lineChart(chart));
}
