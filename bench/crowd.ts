import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { now, startCrowd } from "./lib/crowd.ts";
import { readRound } from "./lib/handovers.ts";
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
import { median, quantile } from "./lib/stats.ts";

const help = `Usage: node bench/crowd.ts [options]

A great crowd waits for one lock, spread over processes, several times one after the other. Everybody adds one to a
number in a file while it holds the lock, by reading it, working and writing it: two at the same time would lose one.

Options:
  --waiters <n>     How many wait (default: 1000)
  --processes <n>   Client processes (default: 4)
  --waves <n>       How often; the clients' memory grows up to the fourth (default: 8)
  --work <ms>       How long each works under the lock (default: 2)
  --stagger <ms>    Between two arrivals; the dev server takes a few hundred requests a second (default: 20)
  --latency <ms>    The simulated round trip (default: 1)
  --redis <url>     The Redis behind the dev server (default: its embedded engine)
${reportHelp}`;

const args = readArgs(help, {
  waiters: { type: "string", default: "1000" },
  processes: { type: "string", default: "4" },
  waves: { type: "string", default: "8" },
  work: { type: "string", default: "2" },
  stagger: { type: "string", default: "20" },
  latency: { type: "string", default: "1" },
  redis: { type: "string" },
});
const size = wholeNumber("waiters", args.waiters, 1);
const waves = wholeNumber("waves", args.waves, 2);
const work = wholeNumber("work", args.work, 1);
const clients = startCrowd(wholeNumber("processes", args.processes, 1));
const server = await startServer({ latency: wholeNumber("latency", args.latency, 0), redis: args.redis });
const engine = await server.engine();

const stagger = wholeNumber("stagger", args.stagger, 0);
/** How much more memory the last wave may take than the second; the first also warms up. */
const growth = 1.15;

const folder = mkdtempSync(join(tmpdir(), "crowd-"));
const counter = join(folder, "counter");
writeFileSync(counter, "0");
const seen: {
  handover: number;
  p99: number;
  total: number;
  requests: number;
  rss: Record<string, number>;
}[] = [];
let served = 0;
try {
  for (let wave = 1; wave <= waves; wave++) {
    progress(`wave ${wave} of ${waves}`);
    const peaks = samplePeaks({
      server: server.pid,
      clients: clients.processes.map(({ pid }) => pid as number),
    });
    await server.resetMeter();
    const begin = now() + 50;
    const people = Array.from({ length: size }, (_, i) => ({
      index: i,
      at: begin + i * stagger,
      // The first holds the lock until all others wait for it.
      work: i === 0 ? size * stagger + 1_000 : work,
    }));
    const credentials = { url: server.url, token: server.token };
    const turns = await clients.run({
      waiter: "serverless-lock",
      credentials,
      key: `bench:${crypto.randomUUID()}`,
      people,
      counter,
    });
    served += turns.length;
    const { requests, commands } = await server.meter();
    const round = readRound(turns, { requests, commands });
    seen.push({
      handover: median(round.handovers),
      p99: quantile(round.handovers, 0.99),
      total: round.total,
      requests: requests / size,
      rss: peaks.stop(),
    });
  }
} finally {
  await Promise.all([clients.close(), server.close()]);
}
progress("");
const counted = Number(readFileSync(counter, "utf8"));
rmSync(folder, { recursive: true });

const groups = Object.keys(seen[0]?.rss ?? {});
publish(
  {
    title: `${size} waiters in ${args.processes} processes for one lock`,
    command: commandLine("bench/crowd.ts"),
    date: today(),
    made: { ...madeWith("serverless-lock"), engine },
    sections: [
      {
        title: `${args.latency} ms round trip, ${work} ms of work`,
        table: [
          [
            "wave",
            "hand-over median ms",
            "p99 ms",
            "total s",
            "requests",
            ...groups.map((name) => `${name} peak MB`),
          ],
          ...seen.map((wave, i) => [
            `${i + 1}`,
            wave.handover.toFixed(1),
            wave.p99.toFixed(1),
            (wave.total / 1_000).toFixed(1),
            wave.requests.toFixed(2),
            ...groups.map((name) => (wave.rss[name] as number).toFixed(0)),
          ]),
        ],
        note: "Requests: per acquisition. MB: the highest sum of the resident memory of these processes in the wave.",
        data: seen,
      },
    ],
    verdicts: [
      count("served", size * waves, served),
      count("counted under the lock, which two at a time would miss", size * waves, counted),
      ...groups.map((name): Verdict => {
        const ratio = (seen.at(-1)?.rss[name] as number) / (seen[1]?.rss[name] as number);
        return {
          what: `memory of the ${name}: the last wave's × the second's`,
          wanted: `≤ ${growth}`,
          seen: ratio.toFixed(2),
          pass: ratio <= growth,
          exact: true,
        };
      }),
    ],
  },
  args,
);

function count(what: string, wanted: number, number: number): Verdict {
  return { what, wanted: `${wanted}`, seen: `${number}`, pass: number === wanted, exact: true };
}

/** The highest sum of resident memory in MB of each group of processes, until stopped. None where /proc is not. */
function samplePeaks({ server, clients }: { server: number; clients: number[] }) {
  const peaks: Record<string, number> = {};
  const sample = () => {
    for (const [name, pids] of [
      ["server", [server]],
      ["clients", clients],
    ] as const) {
      const sum = pids.reduce((total, pid) => total + residentMB(pid), 0);
      if (sum > 0) peaks[name] = Math.max(peaks[name] ?? 0, sum);
    }
  };
  sample();
  const timer = setInterval(sample, 200);
  return {
    stop() {
      clearInterval(timer);
      return peaks;
    },
  };
}

function residentMB(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1_024;
  } catch {
    return 0;
  }
}
