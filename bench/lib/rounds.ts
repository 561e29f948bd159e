import { type Crowd, now, startCrowd } from "./crowd.ts";
import { type Round, readRound } from "./handovers.ts";
import { progress } from "./report.ts";
import { type ServerProcess, startServer } from "./server.ts";
import { median, shuffled } from "./stats.ts";
import type { WaiterName } from "./waiters.ts";

/** Which rounds are played. All times are in ms. */
export interface Plan {
  crowds: number[];
  /** Simulated ones. */
  roundTrips: number[];
  /** How long each works under the lock. */
  work: number;
  /** Between two arrivals. */
  stagger: number;
  /** How many rounds of each library, by the size of the crowd. */
  rounds(crowd: number): number;
  libraries: WaiterName[];
  /** How many processes the crowd is spread over. */
  processes: number;
  /** URL of a Redis. Default: the embedded engine. */
  redis: string | undefined;
  /** For the order within a round, from 0 up to 1. */
  random(): number;
}

/** What was seen of one library at one crowd and one round trip. */
export interface Cell {
  library: WaiterName;
  crowd: number;
  rtt: number;
  rounds: Round[];
}

/** What was seen at one round trip. */
export interface Trip {
  rtt: number;
  /** What a bare request took, in ms. */
  bare: number;
  cells: Cell[];
}

/** Rounds of each library before those that count. */
const warmUp = 3;

/** How long the holder works on when the last has asked, in ms: until then all stand in the queue, or poll. */
const settling = 300;

/** Plays all rounds: each has every library once, in random order, each with a fresh key. */
export async function playRounds(plan: Plan): Promise<{ engine: string; trips: Trip[] }> {
  const trips: Trip[] = [];
  let engine = "";
  const clients = startCrowd(plan.processes);
  for (const rtt of plan.roundTrips) {
    const server = await startServer({ latency: rtt, redis: plan.redis });
    try {
      engine = await server.engine();
      trips.push(await playAt(rtt, plan, server, clients));
    } finally {
      await server.close();
    }
  }
  await clients.close();
  progress("");
  return { engine, trips };
}

async function playAt(rtt: number, plan: Plan, server: ServerProcess, clients: Crowd): Promise<Trip> {
  const play = (library: WaiterName, crowd: number) => playRound(server, clients, library, crowd, rtt, plan);
  // Code gets faster while it runs, which is not to tell against those who come first.
  for (let round = 1; round <= warmUp; round++) {
    for (const library of plan.libraries) await play(library, 20);
  }
  const cells: Cell[] = [];
  const bareRequests: number[] = [];
  for (const crowd of plan.crowds) {
    const rounds = plan.rounds(crowd);
    const seen = plan.libraries.map((library): Cell => ({ library, crowd, rtt, rounds: [] }));
    for (let round = 1; round <= rounds; round++) {
      for (const cell of shuffled(seen, plan.random)) {
        progress(`${rtt} ms, ${crowd} waiting, round ${round} of ${rounds}: ${cell.library}`);
        bareRequests.push(...(await timeBareRequests(server)));
        cell.rounds.push(await play(cell.library, crowd));
      }
    }
    cells.push(...seen);
  }
  return { rtt, bare: median(bareRequests), cells };
}

/** The first to ask is the holder: it works until all others have asked, and a while longer. */
async function playRound(
  server: ServerProcess,
  clients: Crowd,
  waiter: WaiterName,
  size: number,
  rtt: number,
  { stagger, work }: Plan,
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
  const turns = await clients.run({ waiter, credentials, key: `bench:${crypto.randomUUID()}`, people });
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
