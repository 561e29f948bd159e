import { now, type Person, startCrowd, type Turn } from "./lib/crowd.ts";
import {
  commandLine,
  madeWith,
  progress,
  publish,
  readArgs,
  reportHelp,
  today,
  type Verdict,
  wholeNumber,
} from "./lib/report.ts";
import { startServer } from "./lib/server.ts";
import { median, seeded, shuffled } from "./lib/stats.ts";
import type { WaiterName } from "./lib/waiters.ts";

const file = "bench/readers.ts";
const help = `Usage: node ${file} [options]

How long a writer waits among many readers. They arrive one after another, while others read and wait; all that want the
lock stand in one queue.

Options:
  --crowd <n>         How many arrive (default: 50)
  --writers <n>       Percent of them that write (default: 5)
  --rtts <list>       Simulated round trips in ms (default: 5,20,80)
  --work <ms>         How long each reads or writes (default: 100)
  --stagger <ms>      Between two arrivals (default: 10)
  --rounds <n>        Of each client at each round trip, in random order (default: 20)
  --processes <n>     Client processes (default: 2)
  --redis <url>       The Redis behind the dev server (default: its embedded engine)
  --seed <n>          Of who writes and of the order within a round (default: 1)
${reportHelp}`;
const args = readArgs(help, {
  crowd: { type: "string", default: "50" },
  writers: { type: "string", default: "5" },
  rtts: { type: "string", default: "5,20,80" },
  work: { type: "string", default: "100" },
  stagger: { type: "string", default: "10" },
  rounds: { type: "string", default: "20" },
  processes: { type: "string", default: "2" },
  redis: { type: "string" },
  seed: { type: "string", default: "1" },
});
const crowd = wholeNumber("crowd", args.crowd, 2);
const percent = wholeNumber("writers", args.writers, 1);
const work = wholeNumber("work", args.work, 1);
const stagger = wholeNumber("stagger", args.stagger, 0);
const rounds = wholeNumber("rounds", args.rounds, 1);
const random = seeded(wholeNumber("seed", args.seed, 0));
const roundTrips = args.rtts.split(",").map((text) => wholeNumber("rtts", text, 1));
const libraries: WaiterName[] = ["serverless-lock", "serverless-lock, given an @upstash/redis"];
const wanted = 1.2;
/** Rounds of each client before those that count. */
const warmUp = 2;

interface Cell {
  library: WaiterName;
  rtt: number;
  /** One a round: the longest wait of a writer, in ms, and what that of any writer would have been first come, first served. */
  longest: number[];
  ideal: number[];
  /** Of all who read. */
  readers: number[];
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
const ratios = ({ longest, ideal }: Cell) => longest.map((ms, i) => ms / (ideal[i] as number));
publish(
  {
    title: `Writers among readers, ${percent} % of a crowd of ${crowd}`,
    command: commandLine(file),
    date: today(),
    made: { ...madeWith("serverless-lock", "@upstash/redis"), engine },
    note: "Longest: a round's longest wait of a writer. Ideal: what the longest would have been, had all been served in the order of arrival, readers together, each hand-over to a writer in the round's own median.",
    sections: roundTrips.map((rtt) => ({
      title: `${rtt} ms round trip, ${work} ms of work, arrivals ${stagger} ms apart`,
      table: [
        ["", "longest ms, median", "worst", "× ideal, median", "worst", "readers' wait ms, median"],
        ...cells
          .filter((cell) => cell.rtt === rtt)
          .map((cell) => [
            cell.library,
            median(cell.longest).toFixed(0),
            Math.max(...cell.longest).toFixed(0),
            median(ratios(cell)).toFixed(2),
            Math.max(...ratios(cell)).toFixed(2),
            median(cell.readers).toFixed(0),
          ]),
      ],
      data: cells.filter((cell) => cell.rtt === rtt),
    })),
    verdicts: cells.map((cell): Verdict => {
      const seen = Math.max(...ratios(cell));
      return {
        what: `${cell.library} at ${cell.rtt} ms: longest wait of a writer × ideal, the worst round`,
        wanted: `≤ ${wanted}`,
        seen: seen.toFixed(2),
        pass: seen <= wanted,
        exact: false,
      };
    }),
  },
  args,
);

async function playAt(rtt: number): Promise<Cell[]> {
  const server = await startServer({ latency: rtt, redis: args.redis });
  engine = await server.engine();
  const all = libraries.map((library): Cell => ({ library, rtt, longest: [], ideal: [], readers: [] }));
  try {
    for (let round = 1; round <= warmUp + rounds; round++) {
      for (const cell of shuffled(all, random)) {
        progress(`${rtt} ms, round ${round} of ${warmUp + rounds}: ${cell.library}`);
        const crowd = people();
        const turns = await clients.run({
          waiter: cell.library,
          credentials: { url: server.url, token: server.token },
          key: `bench:${crypto.randomUUID()}`,
          people: crowd,
        });
        if (round > warmUp)
          read(cell, turns, new Set(crowd.filter(({ kind }) => !kind).map(({ index }) => index)));
      }
    }
  } finally {
    await server.close();
  }
  return all;
}

function people(): Person[] {
  const begin = now() + 50;
  const count = Math.max(1, Math.round((crowd * percent) / 100));
  // The first reads, so that there is something to wait for.
  const writers = new Set(
    shuffled(
      Array.from({ length: crowd - 1 }, (_, i) => i + 1),
      random,
    ).slice(0, count),
  );
  return Array.from(
    { length: crowd },
    (_, i): Person => ({
      index: i,
      at: begin + i * stagger,
      work,
      kind: writers.has(i) ? undefined : { mode: "shared" },
    }),
  );
}

/** @param turns in the order of their starts */
function read(cell: Cell, turns: Turn[], writers: Set<number>): void {
  const isWriter = ({ index }: Turn) => writers.has(index);
  let lastEnd = Number.NEGATIVE_INFINITY;
  const handovers: number[] = [];
  for (const turn of turns) {
    if (isWriter(turn) && turn.asked < lastEnd) handovers.push(turn.started - lastEnd);
    lastEnd = Math.max(lastEnd, turn.ended);
  }
  const wait = ({ asked, started }: Turn) => started - asked;
  const handover = handovers.length ? median(handovers) : 0;
  cell.longest.push(Math.max(...turns.filter(isWriter).map(wait)));
  cell.ideal.push(longestInOrder(turns, isWriter, handover));
  cell.readers.push(...turns.filter((turn) => !isWriter(turn)).map(wait));
}

/** The longest wait of a writer, were all served in the order of arrival. */
function longestInOrder(turns: Turn[], isWriter: (turn: Turn) => boolean, handover: number): number {
  let [written, read, longest] = [0, 0, 0];
  for (const turn of [...turns].sort((a, b) => a.asked - b.asked)) {
    const free = isWriter(turn) ? Math.max(written, read) : written;
    const start = Math.max(turn.asked, free) + handover;
    if (isWriter(turn)) {
      longest = Math.max(longest, start - turn.asked);
      written = start + work;
    } else read = Math.max(read, start + work);
  }
  return longest;
}
