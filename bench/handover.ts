import { lineChart } from "./lib/chart.ts";
import { type Crowd, now, startCrowd } from "./lib/crowd.ts";
import { fairness, type Round, readRound } from "./lib/handovers.ts";
import {
  commandLine,
  madeWith,
  packageVersion,
  progress,
  publish,
  readArgs,
  reportHelp,
  type Section,
  today,
  type Verdict,
  wholeNumber,
  writeTo,
} from "./lib/report.ts";
import { type ServerProcess, startServer } from "./lib/server.ts";
import { median, quantile, seeded, shuffled } from "./lib/stats.ts";
import { isOurs, type WaiterName, waiterNames } from "./lib/waiters.ts";

const help = `Usage: node bench/handover.ts [options]

A holder takes a lock, a crowd waits for it, each works under it for a while and lets it go. The crowd is spread over
client processes in turn, so that each hand-over goes to another process; the dev server has one of its own. A round
has every library once, in random order, each with a fresh key.

Options:
  --crowds <list>     How many wait (default: 5,20,50,100)
  --rtts <list>       Simulated round trips in ms (default: 5,20,80)
  --work <ms>         How long each works under the lock (default: 20)
  --stagger <ms>      Between two arrivals (default: 2)
  --rounds <n>        Rounds of each crowd at each round trip (default: as many as make 200 hand-overs)
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
  stagger: { type: "string", default: "2" },
  rounds: { type: "string" },
  libraries: { type: "string", default: waiterNames.join(";") },
  processes: { type: "string", default: "2" },
  redis: { type: "string" },
  seed: { type: "string", default: "1" },
  svg: { type: "string" },
});
const crowds = args.crowds.split(",").map((text) => wholeNumber("crowds", text, 1));
const roundTrips = args.rtts.split(",").map((text) => wholeNumber("rtts", text, 1));
const work = wholeNumber("work", args.work, 1);
const random = seeded(wholeNumber("seed", args.seed, 0));
const libraries = waiterNames.filter((name) => args.libraries.split(";").includes(name));
if (libraries.length === 0) wholeNumber("libraries", args.libraries, 0);
/** Further apart, those who poll at a fixed interval would spread over it by themselves. */
const stagger = wholeNumber("stagger", args.stagger, 0);

/** Rounds of each library before those that count. */
const warmUp = 3;

/** How long the holder works on when the last has asked, in ms: until then all stand in the queue, or poll. */
const settling = 300;

/** What was seen of one library at one crowd and one round trip. */
interface Cell {
  library: WaiterName;
  crowd: number;
  rtt: number;
  rounds: Round[];
}

/** What a bare request took, by the simulated round trip. */
const bare = new Map<number, number>();
const cells: Cell[] = [];
let engine = `js-redis-server ${packageVersion("js-redis-server")}`;
const clients = startCrowd(wholeNumber("processes", args.processes, 1));
for (const rtt of roundTrips) {
  const server = await startServer({ latency: rtt, redis: args.redis });
  try {
    if (args.redis) engine = `Redis ${await server.redisVersion()}`;
    // Code gets faster while it runs, which is not to tell against those who come first.
    for (let round = 1; round <= warmUp; round++)
      for (const library of libraries) await playRound(server, clients, library, 20, rtt);
    const bareRequests: number[] = [];
    for (const crowd of crowds) {
      const rounds = args.rounds ? wholeNumber("rounds", args.rounds, 1) : Math.ceil(200 / crowd);
      const seen = libraries.map((library): Cell => ({ library, crowd, rtt, rounds: [] }));
      for (let round = 1; round <= rounds; round++) {
        for (const cell of shuffled(seen, random)) {
          progress(`${rtt} ms, ${crowd} waiting, round ${round} of ${rounds}: ${cell.library}`);
          bareRequests.push(...(await timeBareRequests(server)));
          cell.rounds.push(await playRound(server, clients, cell.library, crowd, rtt));
        }
      }
      cells.push(...seen);
    }
    bare.set(rtt, median(bareRequests));
  } finally {
    await server.close();
  }
}
await clients.close();
progress("");

const plots = args.svg ? draw(args.svg) : [];
publish(
  {
    title: "Handing a lock over to a crowd of waiters",
    command: commandLine("bench/handover.ts"),
    date: today(),
    made: { ...madeWith("serverless-lock", "@upstash/redis", "@upstash/lock"), engine },
    sections: roundTrips.map(describe),
    verdicts: roundTrips.flatMap(judge),
    plots,
  },
  args,
);

/** The first to ask is the holder: it works until all others have asked, and a while longer. */
async function playRound(
  server: ServerProcess,
  crowd: Crowd,
  waiter: WaiterName,
  size: number,
  rtt: number,
): Promise<Round> {
  await server.resetMeter();
  const begin = now() + 20;
  const lead = 2 * rtt + 50;
  const holder = { index: 0, at: begin, work: lead + size * stagger + settling + 3 * rtt };
  const others = Array.from({ length: size }, (_, i) => ({
    index: i + 1,
    at: begin + lead + i * stagger,
    work,
  }));
  const credentials = { url: server.url, token: server.token };
  const people = [holder, ...others];
  const turns = await crowd.run({ waiter, credentials, key: `bench:${crypto.randomUUID()}`, people });
  if (turns[0]?.index !== 0) throw new Error("A waiter got the lock before the holder");
  const { requests, commands } = await server.meter();
  return readRound(turns, { requests, commands });
}

/** One request after another with nothing else going on: what the simulated round trip comes to here. */
async function timeBareRequests({ url, token }: ServerProcess): Promise<number[]> {
  const headers = { authorization: `Bearer ${token}` };
  const times: number[] = [];
  for (let i = 0; i < 6; i++) {
    const start = performance.now();
    await (await fetch(url, { method: "POST", headers, body: '["PING"]' })).json();
    times.push(performance.now() - start);
  }
  // The first may have opened the connection.
  return times.slice(1);
}

function figures({ rounds, crowd, rtt }: Cell) {
  const handovers = rounds.flatMap((round) => round.handovers);
  const sum = (of: (round: Round) => number) => rounds.reduce((total, round) => total + of(round), 0);
  const trip = bare.get(rtt) as number;
  const waits = rounds.map((round) => fairness(round, work));
  const overtaken = rounds.flatMap((round) => round.overtaken);
  return {
    count: handovers.length,
    median: median(handovers),
    p99: quantile(handovers, 0.99),
    medianTrips: median(handovers) / trip,
    p99Trips: quantile(handovers, 0.99) / trip,
    requests: sum((round) => round.requests) / (rounds.length * (crowd + 1)),
    commands: sum((round) => round.commands) / (rounds.length * (crowd + 1)),
    total: median(rounds.map((round) => round.total)),
    floor: median(rounds.map((round) => round.total)) / (crowd * (trip + work)),
    inOrder: overtaken.filter((ms) => ms <= trip).length / handovers.length,
    overtaken: Math.max(...overtaken),
    medianWait: median(waits.flatMap(({ each }) => each)),
    worstWait: Math.max(...waits.flatMap(({ each }) => each)),
    longestWait: Math.max(...waits.map(({ longest }) => longest)),
  };
}

function describe(rtt: number): Section {
  const header = [
    "",
    "waiting",
    "median ms",
    "p99 ms",
    "median RT",
    "p99 RT",
    "requests",
    "billed commands",
    "total s",
    "× least",
    "in order",
    "overtaken ms",
    "wait: median",
    "worst",
    "longest",
  ];
  const rows = cells
    .filter((cell) => cell.rtt === rtt)
    .map((cell) => {
      const seen = figures(cell);
      return [
        cell.library,
        `${cell.crowd}`,
        seen.median.toFixed(1),
        seen.p99.toFixed(1),
        seen.medianTrips.toFixed(2),
        seen.p99Trips.toFixed(2),
        seen.requests.toFixed(2),
        seen.commands.toFixed(1),
        (seen.total / 1_000).toFixed(2),
        seen.floor.toFixed(2),
        `${Math.round(100 * seen.inOrder)} %`,
        seen.overtaken.toFixed(0),
        seen.medianWait.toFixed(2),
        seen.worstWait.toFixed(2),
        seen.longestWait.toFixed(2),
      ];
    });
  return {
    title: `${rtt} ms round trip (a bare request takes ${bare.get(rtt)?.toFixed(1)} ms), ${work} ms of work, arrivals ${stagger} ms apart`,
    note: `A hand-over lasts from the holder's call for the release to the start of the next one's work. RT: in round trips, one being what a bare request took through the same server, between the rounds. Requests and billed commands: per acquisition, the first holder's included. Total: from the first release to the last; × least: over what it is at least, a round trip and the work for each, since a release has to reach the server and the word of it the next holder. In order: hand-overs past nobody who had asked more than a round trip before the one served (whose request comes first is not defined below that); overtaken: how many ms before, at most. Wait: each one's, over what it would have been in the order of arrival with the round's own median hand-over: the median and the worst of those; longest: a round's longest wait over what the longest would have been, in the worst round.`,
    table: [header, ...rows],
    data: cells.filter((cell) => cell.rtt === rtt),
  };
}

function judge(rtt: number): Verdict[] {
  const here = cells.filter((cell) => cell.rtt === rtt).map((cell) => ({ ...cell, seen: figures(cell) }));
  const theirs = here.filter(({ library }) => library === "@upstash/lock");
  return libraries.filter(isOurs).flatMap((library) => {
    const own = here.filter((cell) => cell.library === library);
    /** The worst of all crowds. */
    const most = (what: string, limit: number, of: (cell: (typeof own)[number]) => number): Verdict => {
      const all = own.map((cell) => ({ crowd: cell.crowd, value: of(cell) }));
      const worst = all.reduce((a, b) => (b.value > a.value ? b : a));
      return {
        what: `${library} at ${rtt} ms: ${what}`,
        wanted: `≤ ${limit}`,
        seen: `${worst.value.toFixed(2)} (${worst.crowd} waiting)`,
        pass: worst.value <= limit,
        exact: false,
      };
    };
    const [smallest] = own as [(typeof own)[number]];
    return [
      most("median hand-over in round trips", 1.3, ({ seen }) => seen.medianTrips),
      most("p99 hand-over in round trips", 3, ({ seen }) => seen.p99Trips),
      most(
        `median × that at ${smallest.crowd} waiting`,
        1.2,
        ({ seen }) => seen.median / smallest.seen.median,
      ),
      most("requests per acquisition", 6, ({ seen }) => seen.requests),
      ...(theirs.length
        ? [
            most("total time × @upstash/lock", 0.5, ({ seen, crowd }) => {
              return seen.total / (theirs.find((cell) => cell.crowd === crowd)?.seen.total ?? 0);
            }),
          ]
        : []),
      most("longest wait × that by arrival", 1.2, ({ seen }) => seen.longestWait),
      most("share not served in order of arrival", 0, ({ seen }) => 1 - seen.inOrder),
    ];
  });
}

/** @returns the plots, named relative to their folder */
function draw(folder: string) {
  const panel = (rtt: number, of: (seen: ReturnType<typeof figures>) => number, wanted: number) => ({
    title: `${rtt} ms round trip`,
    wanted,
    lines: libraries.map((library) => ({
      name: library,
      points: cells
        .filter((cell) => cell.rtt === rtt && cell.library === library)
        .map((cell): [number, number] => [cell.crowd, of(figures(cell))]),
    })),
  });
  const charts = [
    {
      file: "handover.svg",
      title: "Hand-over of a lock, median in ms",
      wanted: "wanted: at most 1.3 round trips, whatever the crowd",
      panels: roundTrips.map((rtt) => panel(rtt, (seen) => seen.median, 1.3 * (bare.get(rtt) as number))),
    },
    {
      file: "handover-requests.svg",
      title: "Requests per acquisition",
      wanted: "wanted: at most 6, whatever the crowd",
      panels: roundTrips.map((rtt) => panel(rtt, (seen) => seen.requests, 6)),
    },
  ];
  for (const { file, ...chart } of charts) {
    writeTo(`${folder}/${file}`, lineChart({ ...chart, across: "waiting for the lock", ticks: crowds }));
  }
  return charts.map(({ file, title }) => ({ title, file }));
}
