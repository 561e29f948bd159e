#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type DevServerOptions, type Meter, startDevServer } from "./dev/index.ts";

const HELP = `Usage: serverless-lock <command> [options]

Commands:
  dev        Start a local server that speaks Upstash's REST API

Options:
  --help     Show this, or what a command takes
  --version  Show the version
`;

const DEV_HELP = `Usage: serverless-lock dev [options]

Starts a local server that speaks Upstash's REST API, in front of an embedded Redis engine (nothing to install, empty
at each start) or of a Redis given by URL. Prints the two lines to export, and on Ctrl-C what Upstash would bill.

Options:
  --port <port>     The port to listen on, 0 for a free one      (default: 8079)
  --host <address>  The address to listen on                     (default: 127.0.0.1)
  --token <token>   The token that requests must carry           (default: a random one)
  --redis <url>     The Redis to serve, redis:// or rediss://    (default: the embedded engine)
  --latency <time>  A simulated round trip, such as 20ms         (default: 0)
  --jitter <time>   At most this much more, at random            (default: 0)
  --no-extensions   Hand on the engine's own errors for DELEX, SET … IFEQ and the script flag allow-key-locking,
                    as an older server would answer
  --help            Show this
  --version         Show the version
`;

/** Wrong arguments: told on stderr, exit code 2. */
class UsageError extends Error {}

async function main(args: string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === undefined || command === "--help" || command === "-h") return print(HELP);
  if (command === "--version" || command === "-v") return print(`${version()}\n`);
  if (command === "dev") return dev(rest);
  throw new UsageError(`unknown ${command.startsWith("-") ? "option" : "command"} ${command}`);
}

async function dev(args: string[]): Promise<void> {
  const values = parseDevArgs(args);
  if (values.help) return print(DEV_HELP);
  if (values.version) return print(`${version()}\n`);
  const server = await startDevServer(devOptions(values)).catch((error) => {
    throw (error as { code?: string }).code === "LOCK_OPTION"
      ? new UsageError(`--${(error as Error).message}`)
      : error;
  });
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  print(`UPSTASH_REDIS_REST_URL=${server.url}\nUPSTASH_REDIS_REST_TOKEN=${server.token}\n`);
  await stopped;
  const meter = server.meter();
  await server.close();
  print(summary(meter));
}

function parseDevArgs(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        port: { type: "string" },
        host: { type: "string" },
        token: { type: "string" },
        redis: { type: "string" },
        latency: { type: "string" },
        jitter: { type: "string" },
        "no-extensions": { type: "boolean" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean", short: "v" },
      },
    });
    return values;
  } catch (error) {
    // parseArgs names the option, and appends advice about "--" that helps nobody here.
    throw new UsageError((error as Error).message.split(". To specify")[0]);
  }
}

function devOptions(values: ReturnType<typeof parseDevArgs>): DevServerOptions {
  const { port = "8079", host, token, redis, latency, jitter } = values;
  return {
    port: numberIfPlain(port) as number,
    host,
    token,
    redis,
    extensions: !values["no-extensions"],
    latency: numberIfPlain(latency),
    jitter: numberIfPlain(jitter),
  };
}

/** `20` on the command line is the number 20; anything else is left for the option's own check. */
function numberIfPlain<T extends string | undefined>(text: T): T | number {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}

function summary({ requests, commands, byCommand }: Meter): string {
  const top = Object.entries(byCommand)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 10)
    .map(([name, count]) => `  ${name} ${count}\n`);
  return `\n${requests} requests, ${commands} billed commands\n${top.join("")}`;
}

function version(): string {
  // The same path from src/ and from dist/.
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { version: string }).version;
}

function print(text: string): void {
  process.stdout.write(text);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const usage = error instanceof UsageError;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(
    `serverless-lock: ${message}\n${usage ? "See serverless-lock --help, or serverless-lock dev --help\n" : ""}`,
  );
  process.exitCode = usage ? 2 : 1;
});
