import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startRedis } from "../test/helpers/redis-server.ts";
import { type Endpoint, type Load, openLoad } from "./lib/http-load.ts";
import {
  commandLine,
  formatEstimate,
  madeWith,
  progress,
  publish,
  readArgs,
  refuse,
  reportHelp,
  type Section,
  today,
  type Verdict,
  wholeNumber,
} from "./lib/report.ts";
import { startServer } from "./lib/server.ts";
import { median, medianOfRatios, quantile, shuffled } from "./lib/stats.ts";

const help = `Usage: node bench/dev-server.ts [options]

How much the dev server can do beside a bare proxy of 40 lines (bench/lib/bare-proxy.ts), both in front of one
redis-server, each in a process of its own: PING and SET through 1 and 50 connections. A round has each server once, in
random order. The ratio is the median of each round's own. And how long a start takes until the first answer.

Options:
  --rounds <n>      Rounds of each kind (default: 60)
  --requests <n>    Requests that a server gets in a round (default: 500)
  --starts <n>      Starts of each kind (default: 15)
  --beside <list>   Other servers in front of the same Redis, as name=url, with commas in between
  --token <token>   Their token
  --redis <url>     The Redis (default: a redis-server of its own)
${reportHelp}`;

const args = readArgs(help, {
  rounds: { type: "string", default: "60" },
  requests: { type: "string", default: "500" },
  starts: { type: "string", default: "15" },
  beside: { type: "string", default: "" },
  token: { type: "string", default: "" },
  redis: { type: "string" },
});
const rounds = wholeNumber("rounds", args.rounds, 5);
const requests = wholeNumber("requests", args.requests, 50);
const starts = wholeNumber("starts", args.starts, 3);
const WANTED_SHARE = 0.8;
const WANTED_START = 1_000;
const KINDS = [["PING"], ["SET", "bench:dev-server", "x".repeat(100)]];
const CONNECTIONS = [1, 50];

interface Server extends Endpoint {
  name: string;
  close(): Promise<void>;
}

const redis = args.redis ? { url: args.redis, close: async () => {} } : await startRedis();
const servers = [await startDev(redis.url), await startProxy(redis.url), ...others(args.beside)];
const sections: Section[] = [];
const verdicts: Verdict[] = [];
try {
  for (const command of KINDS) {
    for (const connections of CONNECTIONS) await compare(command, connections);
  }
  await measureStarts();
} finally {
  for (const { close } of servers) await close();
  await redis.close();
}

publish(
  {
    title: "The dev server beside a bare proxy",
    command: commandLine("bench/dev-server.ts"),
    date: today(),
    made: madeWith("serverless-lock", "ioredis", "js-redis-server"),
    note: "All servers stand in front of the same redis-server. The machine's cores are shared by the server, Redis and the client that measures.",
    sections,
    verdicts,
  },
  args,
);

async function compare(command: string[], connections: number): Promise<void> {
  const label = `${command[0]} through ${connections === 1 ? "one connection" : `${connections} connections`}`;
  const samples: { name: string; load: Load; ms: number[] }[] = [];
  for (const server of servers) {
    samples.push({ name: server.name, load: await openLoad(server, command, connections), ms: [] });
  }
  // The first requests find cold code.
  for (const { load } of samples) await load.send(4 * requests);
  for (let round = 0; round < rounds; round++) {
    progress(`${label}: round ${round} of ${rounds}`);
    for (const { load, ms } of shuffled(samples)) ms.push(await load.send(requests));
  }
  progress("");
  for (const { load } of samples) load.close();
  const [own, proxy] = samples as [(typeof samples)[0], (typeof samples)[0]];
  sections.push({
    title: `${label}, ${rounds} rounds of ${requests} requests`,
    table: [
      ["", "requests per second", "throughput ÷ the proxy's [95 %]"],
      ...samples.map(({ name, ms }) => [
        name,
        ((requests / median(ms)) * 1_000).toFixed(0),
        ms === proxy.ms ? "1" : formatEstimate(medianOfRatios(proxy.ms, ms)),
      ]),
    ],
    data: samples.map(({ name, ms }) => ({ name, ms })),
  });
  const share = medianOfRatios(proxy.ms, own.ms);
  verdicts.push({
    what: `${label}: throughput ÷ the proxy's`,
    wanted: `≥ ${WANTED_SHARE}`,
    seen: formatEstimate(share),
    pass: share.value >= WANTED_SHARE,
    exact: false,
  });
}

/** From the start of the process to its first answer. */
async function measureStarts(): Promise<void> {
  const kinds = [
    { name: "with the embedded engine", redis: undefined },
    { name: "in front of a Redis", redis: redis.url },
  ];
  const samples = kinds.map((kind) => ({ ...kind, ms: [] as number[] }));
  for (let turn = 0; turn < starts; turn++) {
    progress(`start ${turn} of ${starts}`);
    for (const { redis, ms } of shuffled(samples)) {
      const start = performance.now();
      const server = await startServer({ latency: 0, redis });
      const load = await openLoad(server, ["PING"], 1);
      await load.send(1);
      ms.push(performance.now() - start);
      load.close();
      await server.close();
    }
  }
  progress("");
  sections.push({
    title: `From the start of the process to its first answer, ${starts} times`,
    table: [
      ["", "median ms", "p90 ms"],
      ...samples.map(({ name, ms }) => [name, median(ms).toFixed(0), quantile(ms, 0.9).toFixed(0)]),
    ],
    data: samples.map(({ name, ms }) => ({ name, ms })),
  });
  for (const { name, ms } of samples) {
    verdicts.push({
      what: `start ${name}, median ms`,
      wanted: `≤ ${WANTED_START}`,
      seen: median(ms).toFixed(0),
      pass: median(ms) <= WANTED_START,
      exact: false,
    });
  }
}

async function startDev(redis: string): Promise<Server> {
  const { url, token, close } = await startServer({ latency: 0, redis });
  return { name: "the dev server", url, token, close };
}

async function startProxy(redis: string): Promise<Server> {
  const script = fileURLToPath(new URL("lib/bare-proxy.ts", import.meta.url));
  const token = "secret";
  const child = spawn(process.execPath, [script, redis, token], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(child.stdout as NonNullable<ChildProcess["stdout"]>, "data");
  const [, url = ""] = /URL=(.*)/.exec(String(line)) ?? [];
  process.once("exit", () => child.kill("SIGKILL"));
  return {
    name: "the bare proxy",
    url,
    token,
    close: async () => {
      child.kill();
      await once(child, "exit");
    },
  };
}

function others(list: string): Server[] {
  return list
    .split(",")
    .filter((item) => item !== "")
    .map((item) => {
      const [name = "", url = ""] = item.split(/=(.*)/s);
      if (!URL.canParse(url)) refuse("beside", item, "name=url");
      return { name, url, token: args.token, close: async () => {} };
    });
}
