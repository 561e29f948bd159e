// One result for all who ask: this package beside an idempotency layer and a plain cache. After `npm run build`.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { startDevServer } from "serverless-lock/dev";
import { startRedis } from "../test/helpers/redis-server.ts";
import { peerVersion } from "../test/storm/libraries/tcp.ts";
import type { Answer, Order, Place } from "./lib/idempotency-process.ts";
import { commandLine, madeWith, publish, readArgs, reportHelp, today, wholeNumber } from "./lib/report.ts";
import { startSlowTcp } from "./lib/slow-tcp.ts";

const help = `Usage: node bench/idempotency.ts [options]

Callers in 4 processes ask for the result of one work: of serverless-lock's singleFlight over HTTP, of
@aws-lambda-powertools/idempotency and of a cache by GET and SET, both over TCP, on the same Redis. Then with lost
replies, with a holder that is killed, and with work that takes longer than its lease. Needs redis-server, and
"npm ci --prefix test/storm".

Options:
  --rounds <n>    How often each (default: 5)
  --latency <ms>  The simulated round trip (default: 20)
${reportHelp}`;
const args = readArgs(help, {
  rounds: { type: "string", default: "5" },
  latency: { type: "string", default: "20" },
});
const rounds = wholeNumber("rounds", args.rounds, 1);
const latency = wholeNumber("latency", args.latency, 0);
const powertools = "@aws-lambda-powertools/idempotency";
const titles = { ours: "serverless-lock", powertools, cache: "GET and SET" };
const version = peerVersion(powertools);
if (!version) throw new Error("Not installed. Run: npm ci --prefix test/storm");

const redis = await startRedis();
const raw = new Redis(redis.url);
const server = await startDevServer({ redis: redis.url, latency });
const tcp = await startSlowTcp(redis.url, latency);
let keys = 0;

interface Scene {
  title: string;
  /** How long work takes, and its lease, in ms. */
  work: number;
  lease: number;
  /** A share of replies that get lost: over TCP with their connection. */
  lost: number;
  /** What becomes of the first caller, once it works. The others ask then, or at once. */
  first?: "is killed" | "outlives its lease";
}

const scenes: Scene[] = [
  { title: "20 callers at once", work: 300, lease: 5000, lost: 0 },
  { title: "the same, one reply in five lost", work: 300, lease: 5000, lost: 0.2 },
  { title: "who works is killed; 15 ask meanwhile", work: 600, lease: 2000, lost: 0, first: "is killed" },
  {
    title: "work of 3 s under a lease of 1 s that nobody renews; 15 ask after it",
    work: 3000,
    lease: 1000,
    lost: 0,
    first: "outlives its lease",
  },
];

interface Seen {
  runs: number[];
  answers: Answer[][];
  trips: number;
}

async function start(contender: string): Promise<ChildProcess> {
  const { url, token } = server;
  const place: Place = { contender, url, token, redis: tcp.url, counter: redis.url };
  const path = fileURLToPath(new URL("./lib/idempotency-process.ts", import.meta.url));
  const child = fork(path, [JSON.stringify(place)]);
  await once(child, "message");
  return child;
}

/** Undefined of a process that was killed. */
function tell(child: ChildProcess, order: Order): Promise<Answer[] | undefined> {
  return new Promise((resolve) => {
    child.on("message", (message) => message !== "works" && resolve(message as Answer[]));
    child.once("exit", () => resolve(undefined));
    child.send(order);
  });
}

async function play(contender: string, { work, lease, lost, first }: Scene): Promise<Seen> {
  const seen: Seen = { runs: [], answers: [], trips: 0 };
  for (let round = 0; round < rounds; round++) {
    const children = await Promise.all(Array.from({ length: 4 }, () => start(contender)));
    const key = `key-${++keys}`;
    const order = { key, callers: 5, work, lease, renew: first !== "outlives its lease" };
    server.setFaults(lost ? { dropReply: lost } : {});
    tcp.lose(lost);
    const before = server.meter().requests + tcp.trips();
    const [one, ...others] = children as [ChildProcess, ...ChildProcess[]];
    const told: Promise<Answer[] | undefined>[] = [];
    if (first) {
      const works = once(one, "message");
      told.push(tell(one, { ...order, callers: 1 }));
      await works;
      if (first === "is killed") one.kill("SIGKILL");
      else await sleep(1.5 * lease);
    } else told.push(tell(one, order));
    told.push(...others.map((child) => tell(child, order)));
    seen.answers.push((await Promise.all(told)).flatMap((answers) => answers ?? []));
    seen.trips += server.meter().requests + tcp.trips() - before;
    seen.runs.push(Number(await raw.get(`runs:${key}`)));
    for (const child of children) child.kill();
  }
  server.setFaults({});
  tcp.lose(0);
  return seen;
}

function rowOf(title: string, { runs, answers, trips }: Seen): string[] {
  const all = answers.flat();
  const got = all.filter(({ run }) => run !== undefined);
  const errors = Map.groupBy(
    all.filter(({ error }) => error),
    ({ error }) => error as string,
  );
  const different = answers.filter((each) => new Set(each.flatMap(({ run }) => run ?? [])).size > 1);
  return [
    title,
    `${runs.reduce((sum, each) => sum + each, 0)} for ${rounds}`,
    `${runs.filter((each) => each > 1).length}`,
    `${got.length} of ${all.length}`,
    [...errors].map(([name, { length }]) => `${length} ${name}`).join(", ") || "–",
    `${different.length}`,
    `${Math.max(0, ...all.map(({ ms }) => ms))}`,
    (trips / all.length).toFixed(1),
  ];
}

const header = [
  "",
  "times it ran, for keys",
  "keys for which it ran more than once",
  "callers with an answer",
  "callers with an error",
  "keys with two different answers",
  "longest wait, ms",
  "round trips a caller",
];
const sections = [];
for (const scene of scenes) {
  const rows = [];
  for (const [contender, title] of Object.entries(titles))
    rows.push(rowOf(title, await play(contender, scene)));
  sections.push({ title: scene.title, table: [header, ...rows] });
}
await tcp.close();
await server.close();
raw.disconnect();
await redis.close();
publish(
  {
    title: "One result for all who ask, beside others",
    command: commandLine("bench/idempotency.ts"),
    date: today(),
    made: { ...madeWith("serverless-lock"), [powertools]: version, "round trip": `${latency} ms` },
    sections,
    verdicts: [],
  },
  args,
);
process.exit();
