// Writes under a lock whose Redis forgets it, to three stores, with their guard and without. After `npm run build`.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createLocker, type Lock } from "serverless-lock";
import { startDevServer } from "serverless-lock/dev";
import { startStormyRedis } from "../test/storm/redis.ts";
import { openStores, type Store } from "./lib/fenced-stores.ts";
import { commandLine, madeWith, publish, readArgs, reportHelp, today, wholeNumber } from "./lib/report.ts";

const help = `Usage: node bench/fenced.ts [options]

Workers take locks with a fencing token, and write to Postgres, DynamoDB and Redis under them: some so late that their
lease is over. The Redis of the locks is killed now and then, and forgets them. Counts writes that came after one with a
later token, with each store's guard and without. Needs redis-server; Postgres, if its server is installed, else PGlite.

Options:
  --seconds <n>     How long (default: 60)
  --workers <n>     (default: 20)
${reportHelp}`;
const args = readArgs(help, {
  seconds: { type: "string", default: "60" },
  workers: { type: "string", default: "20" },
});
const seconds = wholeNumber("seconds", args.seconds, 1);
const workers = wholeNumber("workers", args.workers, 2);
const keys = Array.from({ length: 8 }, (_, i) => `record-${i}`);
const between = (least: number, most: number) => least + Math.random() * (most - least);

const folder = mkdtempSync(join(tmpdir(), "fenced-"));
const redis = await startStormyRedis(folder, false);
const server = await startDevServer({ redis: redis.url });
const locker = createLocker({
  url: server.url,
  token: server.token,
  ttl: "1s",
  wait: "2s",
  requestTimeout: 2000,
});
const { stores, versions, close } = await openStores(keys);

interface Count {
  writes: number;
  refused: number;
  stale: number;
  staleUnguarded: number;
}
const counts = new Map(
  stores.map(({ name }): [string, Count] => [name, { writes: 0, refused: 0, stale: 0, staleUnguarded: 0 }]),
);

/** Writes with the guard and without. A write is stale if it finds a later token than its own. */
async function write({ name, guarded, unguarded }: Store, lock: Lock): Promise<void> {
  const count = counts.get(name) as Count;
  const fence = lock.fence as number;
  count.writes++;
  const before = await guarded(lock, lock.key);
  if (before === "refused") count.refused++;
  else if (before > fence) count.stale++;
  if ((await unguarded(lock, lock.key)) > fence) count.staleUnguarded++;
}

async function work(): Promise<void> {
  while (performance.now() < end) {
    const key = keys[Math.floor(Math.random() * keys.length)] as string;
    const lock = await locker.acquire(key, { fencing: true }).catch(() => undefined);
    if (!lock) {
      await sleep(between(10, 100));
      continue;
    }
    // Two in five are frozen, and ask nobody whether they may still write.
    await sleep(Math.random() < 0.4 ? between(500, 4000) : between(2, 30));
    await Promise.all(stores.map((store) => write(store, lock)));
    await lock.release().catch(() => {});
  }
}

let killed = 0;
async function forget(): Promise<void> {
  while (performance.now() < end) {
    await sleep(between(2000, 8000));
    await redis.kill();
    killed++;
    await sleep(between(20, 200));
    await redis.start();
  }
}

const end = performance.now() + seconds * 1000;
await Promise.all([forget(), ...Array.from({ length: workers }, work)]);
await close();
await server.close();
await redis.kill();
rmSync(folder, { recursive: true });

const all = [...counts.values()];
const sum = (of: (count: Count) => number) => all.reduce((total, count) => total + of(count), 0);
publish(
  {
    title: "Fenced writes over a Redis that forgets",
    command: commandLine("bench/fenced.ts"),
    date: today(),
    made: { ...madeWith(), ...versions },
    sections: [
      {
        title: `${seconds} s, ${workers} workers, the locks' Redis killed and emptied ${killed} times`,
        table: [
          [
            "",
            "writes",
            "stale, refused by the guard",
            "stale, let in by the guard",
            "stale, without the guard",
          ],
          ...[...counts].map(([name, { writes, refused, stale, staleUnguarded }]) =>
            [name, writes, refused, stale, staleUnguarded].map(String),
          ),
        ],
      },
    ],
    verdicts: [
      {
        what: "stale writes let in by a guard",
        wanted: "0",
        seen: `${sum(({ stale }) => stale)}`,
        pass: sum(({ stale }) => stale) === 0,
        exact: true,
      },
      {
        what: "stale writes without a guard, in each store",
        wanted: "≥ 1",
        seen: `${Math.min(...all.map(({ staleUnguarded }) => staleUnguarded))}`,
        pass: all.every(({ staleUnguarded }) => staleUnguarded > 0),
        exact: true,
      },
    ],
  },
  args,
);
process.exit();
