import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import {
  commandLine,
  madeWith,
  publish,
  readArgs,
  reportHelp,
  today,
  type Verdict,
  wholeNumber,
} from "./lib/report.ts";
import { startServer } from "./lib/server.ts";

const file = "bench/several.ts";
const help = `Usage: node ${file} [options]

Processes take the same two locks at once, half of them in the one order, half in the other: whether any wait for each
other, and what is left when all are done.

Options:
  --times <n>       How often, together (default: 10000)
  --processes <n>   (default: 8)
  --pairs <n>       Pairs of locks, taken in turn (default: 4)
  --latency <ms>    The simulated round trip (default: 1)
  --redis <url>     The Redis behind the dev server (default: its embedded engine)
${reportHelp}`;
const args = readArgs(help, {
  times: { type: "string", default: "10000" },
  processes: { type: "string", default: "8" },
  pairs: { type: "string", default: "4" },
  latency: { type: "string", default: "1" },
  redis: { type: "string" },
});
const times = wholeNumber("times", args.times, 1);
const size = wholeNumber("processes", args.processes, 2);
const pairs = wholeNumber("pairs", args.pairs, 1);
/** ms after which a wait is taken for a deadlock: the longest of a live queue here are some seconds. */
const wait = 60_000;

/** What each process is told, and what it says in the end. */
export interface SeveralOrder {
  url: string;
  token: string;
  keys: string[][];
  times: number;
  wait: number;
}
interface Told {
  done: number;
  busy: number;
  failed: string[];
}

const server = await startServer({ latency: wholeNumber("latency", args.latency, 0), redis: args.redis });
const run = crypto.randomUUID();
const children = Array.from({ length: size }, () =>
  fork(new URL("./lib/several-process.ts", import.meta.url)),
);
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
const begin = performance.now();
const told = await Promise.all(
  children.map(async (child, i): Promise<Told> => {
    const keys = Array.from({ length: pairs }, (_, pair) => {
      const both = [`${run}:${pair}:a`, `${run}:${pair}:b`];
      return i % 2 ? both.reverse() : both;
    });
    const { url, token } = server;
    const own = Math.floor(times / size) + (i < times % size ? 1 : 0);
    child.send({ url, token, keys, times: own, wait } satisfies SeveralOrder);
    const [answer] = (await Promise.race([
      once(child, "message"),
      once(child, "exit").then(() => [{ done: 0, busy: 0, failed: ["a process died"] }]),
    ])) as [Told];
    return answer;
  }),
);
const seconds = (performance.now() - begin) / 1000;
for (const child of children) child.kill("SIGTERM");
const { requests, commands } = await server.meter();
// Who left a queue is remembered for some seconds.
await sleep(10_000);
const left = await keysLeft();
const engine = await server.engine();
await server.close();

const sum = (of: (each: Told) => number) => told.reduce((total, each) => total + of(each), 0);
const failed = told.flatMap((each) => each.failed);
const count = (what: string, wanted: number, seen: number): Verdict => ({
  what,
  wanted: `${wanted}`,
  seen: `${seen}`,
  pass: seen === wanted,
  exact: true,
});
publish(
  {
    title: `Two locks in opposite orders, ${times} times by ${size} processes`,
    command: commandLine(file),
    date: today(),
    made: { ...madeWith("serverless-lock"), engine },
    sections: [
      {
        title: `${args.latency} ms round trip, ${pairs} pairs`,
        table: [
          ["", "seen"],
          ["seconds", seconds.toFixed(1)],
          ["requests each", (requests / times).toFixed(2)],
          ["billed commands each", (commands / times).toFixed(1)],
        ],
        ...(failed.length > 0 && { note: [...new Set(failed)].join("; ") }),
      },
    ],
    verdicts: [
      count(
        "taken and released",
        times,
        sum(({ done }) => done),
      ),
      count(
        `waited ${wait / 1000} s in vain`,
        0,
        sum(({ busy }) => busy),
      ),
      count("failed", 0, failed.length),
      count("keys left", 0, left.length),
    ],
  },
  args,
);

async function keysLeft(): Promise<string[]> {
  const response = await fetch(server.url, {
    method: "POST",
    headers: { authorization: `Bearer ${server.token}` },
    body: JSON.stringify(["KEYS", `*${run}*`]),
  });
  return ((await response.json()) as { result: string[] }).result;
}
