// How long a crowd of callers waits for one result, and what that costs. After `npm run build`.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { startDevServer } from "serverless-lock/dev";
import { startRedis } from "../test/helpers/redis-server.ts";
import { commandLine, madeWith, publish, readArgs, reportHelp, today } from "./lib/report.ts";

const help = `Usage: node bench/single-flight.ts [options]

200 callers in 4 processes ask for the result of one work of 300 ms at once, through the dev server in front of a Redis.

Options:
${reportHelp}`;

const args = readArgs(help, {});
const processes = 4;
const callers = 200;
const work = 300;

interface Report {
  ended: { at: number; right: boolean }[];
  runs: number;
  delivered: number;
}

async function crowd(latency: number, bytes: number) {
  const redis = await startRedis();
  const server = await startDevServer({ redis: redis.url, latency });
  const words = [server.url, server.token, `flight-${latency}-${bytes}`, callers / processes, work, bytes];
  const path = fileURLToPath(new URL("./lib/flight-process.ts", import.meta.url));
  const children = Array.from({ length: processes }, () => fork(path, words.map(String)));
  await Promise.all(children.map((child) => new Promise((resolve) => child.once("message", resolve))));
  const before = server.meter();
  const reports = children.map(
    (child) =>
      new Promise<Report>((resolve) => {
        child.on("message", (message: Report) => message.ended && resolve(message));
        child.send("go");
      }),
  );
  const all = await Promise.all(reports);
  await Promise.all(
    children.map((child) => child.exitCode ?? new Promise((resolve) => child.once("exit", resolve))),
  );
  const after = server.meter();
  const [requests, commands] = [after.requests - before.requests, after.commands - before.commands];
  await server.close();
  await redis.close();
  const ended = all.flatMap((report) => report.ended);
  const delivered = Math.max(...all.map((report) => report.delivered));
  return {
    runs: all.reduce((sum, report) => sum + report.runs, 0),
    right: ended.filter(({ right }) => right).length,
    last: Math.max(...ended.map(({ at }) => at)) - delivered,
    requests: requests / callers,
    commands: commands / callers,
  };
}

const rows: string[][] = [];
for (const latency of [200, 20])
  for (const bytes of [1000, 20_000]) {
    const seen = await crowd(latency, bytes);
    rows.push([
      `${latency} ms`,
      `${bytes}`,
      `${seen.runs}`,
      `${seen.right}`,
      `${seen.last}`,
      seen.requests.toFixed(2),
      seen.commands.toFixed(2),
    ]);
  }

publish(
  {
    title: "One result for a crowd",
    command: commandLine("bench/single-flight.ts"),
    date: today(),
    made: madeWith("serverless-lock"),
    sections: [
      {
        title: `${callers} callers in ${processes} processes, work of ${work} ms`,
        table: [
          [
            "round trip",
            "bytes of the result",
            "times it ran",
            "callers with the result",
            "ms from the answer to the winner's release to the last caller",
            "requests a caller",
            "billed commands a caller",
          ],
          ...rows,
        ],
      },
    ],
    verdicts: [],
  },
  args,
);
