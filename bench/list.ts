// Lists many locks by serverless-lock/admin: what each page takes.
import { createLocker } from "serverless-lock";
import { inspect, list } from "serverless-lock/admin";
import { startRedis } from "../test/helpers/redis-server.ts";
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

const help = `Usage: node bench/list.ts [options]

Takes many locks, and lists all of them by pages, from a redis-server of its own.

Options:
  --locks <n>       How many (default: 10000)
${reportHelp}`;

const args = readArgs(help, { locks: { type: "string", default: "10000" } });
const many = wholeNumber("locks", args.locks, 1);

const redis = await startRedis();
const server = await startServer({ latency: 0, redis: redis.url });
const locker = createLocker({ url: server.url, token: server.token, ttl: "1h", requestTimeout: "10s" });

interface Pass {
  count: number;
  pages: number;
  found: number;
  requests: number;
  byCommand: Record<string, number>;
  commands: number;
  times: number[];
}

try {
  for (let from = 0; from < many; from += 100) {
    progress(`${from} of ${many} locks taken`);
    const some = Array.from({ length: Math.min(100, many - from) }, (_, i) => from + i);
    await Promise.all(some.map((i) => locker.acquire(`order:${i}`, { owner: `charge/eu-${i % 7}` })));
  }
  progress("");
  const passes = [await passBy(100), await passBy(1000)];
  await server.resetMeter();
  await inspect(locker, "order:0");
  const inspected = await server.meter();
  publish(
    {
      title: `Listing ${many} locks`,
      command: commandLine("bench/list.ts"),
      date: today(),
      made: { ...madeWith("serverless-lock"), server: await server.engine() },
      note: "Each pass takes page after page until there is no cursor. The times are without a round trip, on a machine that may do other work.",
      sections: [
        {
          title: "By pages",
          table: [
            [
              "count",
              "pages",
              "locks found",
              "requests",
              "billed commands",
              "a lock",
              "ms a page, median",
              "ms, 95 %",
            ],
            ...passes.map(({ count, pages, found, requests, commands, times }) => [
              ...[count, pages, found, requests, commands].map(String),
              (commands / many).toFixed(2),
              ...[median(times), quantile(times, 0.95)].map((ms) => ms.toFixed(1)),
            ]),
          ],
        },
        {
          title: "One lock by inspect",
          table: [
            ["requests", "billed commands"],
            [`${inspected.requests}`, `${inspected.commands}`],
          ],
        },
      ],
      verdicts: [
        ...passes.flatMap(verdictsOf),
        ...atMost("billed commands of an inspect", inspected.commands, 3),
      ],
    },
    args,
  );
} finally {
  await server.close();
  await redis.close();
}

async function passBy(count: number): Promise<Pass> {
  await server.resetMeter();
  const keys = new Set<string>();
  const times: number[] = [];
  let cursor: string | undefined;
  do {
    const began = performance.now();
    const page = await list(locker, { count, cursor });
    times.push(performance.now() - began);
    for (const { key } of page.locks) keys.add(key);
    cursor = page.cursor;
  } while (cursor !== undefined);
  const { requests, commands, byCommand } = await server.meter();
  return { count, pages: times.length, found: keys.size, requests, commands, byCommand, times };
}

function verdictsOf({ count, pages, found, requests, byCommand }: Pass): Verdict[] {
  const by = `by ${count}`;
  return [
    { what: `locks found, ${by}`, wanted: `${many}`, seen: `${found}`, pass: found === many, exact: true },
    ...atMost(`requests a page, ${by}`, requests / pages, count > 500 ? 4 : 2),
    ...atMost(`KEYS, ${by}`, byCommand.KEYS ?? 0, 0),
  ];
}

function atMost(what: string, seen: number, most: number): Verdict[] {
  return [
    { what, wanted: `≤ ${most}`, seen: `${Math.round(seen * 100) / 100}`, pass: seen <= most, exact: true },
  ];
}
