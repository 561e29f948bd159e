import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startDevServer } from "../../src/dev/index.ts";
import { clientLog, createFleet } from "./fleet.ts";
import type { Library } from "./libraries/library.ts";
import { type ClientLine, type DirectorLine, type Logs, now, openLog, readLog } from "./log.ts";
import { operate } from "./operator.ts";
import { randomOf } from "./random.ts";
import { startStormyRedis } from "./redis.ts";
import { openResource } from "./resource.ts";
import { type Kinds, keysOf, leases } from "./settings.ts";
import { startWatch } from "./watch.ts";
import { makeWeather } from "./weather.ts";

export interface StormOptions {
  seed: number;
  library: Library;
  kinds: Kinds;
  /** Whether Redis keeps its data when it is killed. */
  persistence: boolean;
  /** How an operator ends locks, who pauses and limits them, too. Undefined for no operator. */
  operator?: "safe" | "now" | undefined;
  /** Client processes. */
  clients: number;
  /** Workers in each, all of which may wait for or hold a lock. */
  workers: number;
  /** Where the logs go. */
  folder: string;
  /** Told now and then how far it is. */
  progress(seconds: number, text: string): void;
  /** Asked every few seconds whether the storm has lasted long enough. */
  enough(seconds: number, logs: () => Logs): boolean;
}

/** Seconds after which it is asked again whether a storm has lasted long enough. */
const every = 3;
/** ms that clients have to finish: a wait, a work, and what requests may take beside. */
const finishLimit = 20_000;

/** Runs a storm to its end and gives what everybody wrote. */
export async function runStorm(options: StormOptions): Promise<Logs> {
  const { seed, library, kinds, folder } = options;
  mkdirSync(folder, { recursive: true });
  const log = join(folder, "director.jsonl");
  const record = openLog<DirectorLine>(log);
  const random = randomOf(seed);
  const data = join(folder, "redis");
  const redis = await startStormyRedis(data, options.persistence);
  const server = await startDevServer({ redis: redis.url, latency: 1 });
  const socket = join(folder, "resource");
  const resource = await openResource(socket, record);
  const fired: Record<string, number> = {};
  const results = kinds === "results" ? library.results : undefined;
  const watch = startWatch(redis.url, library, keysOf(kinds), results, record, () => {
    for (const [kind, total] of Object.entries(server.fired())) {
      const count = total - (fired[kind] ?? 0);
      fired[kind] = total;
      if (count > 0) record({ what: "fired", at: now(), kind, count });
    }
  });
  const fleet = createFleet(
    folder,
    {
      library: library.name,
      seed,
      workers: options.workers,
      kinds,
      resource: socket,
      redisUrl: redis.url,
    },
    { UPSTASH_REDIS_REST_URL: server.url, UPSTASH_REDIS_REST_TOKEN: server.token },
    record,
  );

  const end = new AbortController();
  const begin = now();
  const logs = () => readLogs(folder, log);
  const timer = setInterval(() => {
    const seconds = Math.round((now() - begin) / 1000);
    const faults = Object.values(fired).reduce((sum, count) => sum + count, 0);
    options.progress(seconds, `${seconds} s, ${fleet.clients().length} clients, ${faults} requests hit`);
    if (seconds % every === 0 && options.enough(seconds, logs)) end.abort();
  }, 1000);
  try {
    for (let i = 0; i < options.clients; i++) fleet.start();
    const operating =
      options.operator &&
      operate(
        {
          desk: await (library.operator as NonNullable<typeof library.operator>)(server),
          // What it does is not to change the weather.
          random: randomOf(seed + 1),
          keys: keysOf(kinds),
          holders: watch.holders,
          now: options.operator === "now",
          record,
        },
        end.signal,
      );
    await makeWeather(
      {
        random,
        fleet,
        redis,
        record,
        holders: watch.holders,
        longestLease: leases(kinds).longest,
        setFaults: (faults) => server.setFaults(faults),
        // A Redis that forgets is to forget often, and be back while somebody still believes.
        outages: options.persistence
          ? { apart: [3000, 12_000], down: [50, 1000] }
          : { apart: [1500, 5000], down: [20, 200] },
      },
      end.signal,
    );
    await operating;
    await fleet.finish(finishLimit);
    await watch.leftovers(leases(kinds).longest);
  } finally {
    clearInterval(timer);
    await watch.close();
    await resource.close();
    await server.close();
    await redis.kill();
    // What is in there are tokens.
    rmSync(data, { recursive: true });
  }

  return logs();
}

function readLogs(folder: string, log: string): Logs {
  const director = readLog<DirectorLine>(log);
  const names = director.filter((line) => line.what === "started").map(({ client }) => client);
  return { clients: new Map(names.map((name) => [name, readClient(folder, name)])), director };
}

/** One that was killed before it began has no log. */
function readClient(folder: string, name: string): ClientLine[] {
  try {
    return readLog<ClientLine>(clientLog(folder, name));
  } catch {
    return [];
  }
}
