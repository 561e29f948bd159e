#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { endWhenOutputFails, print } from "./cli/output.ts";
import { operate, operatorCommands } from "./cli/program.ts";
import { envLines, writeEnvFile } from "./dev/env-file.ts";
import { FAULT_KINDS } from "./dev/faults.ts";
import { type DevServer, type DevServerOptions, startDevServer } from "./dev/index.ts";
import { LockOptionError, printable } from "./errors.ts";

const HELP = `Usage: serverless-lock <command> [options]

Commands:
  list       Show the locks there are
  inspect    Show who holds a lock and who waits for it
  watch      The same, live
  release    End a lock; safe, or --now
  limit      Set how many permits there are
  pause      Let nobody in until unpause
  unpause    End a pause
  page       Show all of it as a page, on this machine alone
  dev        Start a local server that speaks Upstash's REST API

Exit codes: 0, 1 (not found, or nothing was done), 2 (wrong use), 3 (Redis could not be asked)

Options:
  --help     Show this, or what a command takes
  --version  Show the version
`;

const DEV_HELP = `Usage: serverless-lock dev [options]

Starts a local server that speaks Upstash's REST API, in front of an embedded Redis engine (nothing to install, empty
at each start) or of a Redis given by URL. Prints the two lines to export, and on Ctrl-C what Upstash would bill.
It has no JSON and no search: those commands are answered as not available.

Options:
  --port <port>     The port to listen on, 0 for a free one      (default: 8079)
  --host <address>  The address to listen on                     (default: 127.0.0.1)
  --token <token>   The token that requests must carry           (default: $UPSTASH_REDIS_REST_TOKEN if that is
                    set, else a random one)
  --read-only-token <token>
                    A second token, which may read and nothing else
                    (default: $KV_REST_API_READ_ONLY_TOKEN if that is set, else a random one)
  --redis <url>     The Redis to serve: redis://, rediss:// or unix:///path
                    (default: $SERVERLESS_LOCK_DEV_REDIS if that is set, else the embedded engine)
  --file <path>     Keeps the embedded engine's data in this file, from one start to the next
  --write-env <path>
                    Writes the two lines into this file for other programs, once requests are taken.
                    Its other lines stay
  --env-file <path> The same, for a file that exists: Node reads a flag of this name too, before any program
                    does, and ends where the file is missing
  --latency <time>  A simulated round trip, such as 20ms         (default: 0)
  --jitter <time>   At most this much more, at random            (default: 0)
  --no-extensions   Hand on the engine's own answers, as an older server would give them: for DELEX, DIGEST,
                    SET … IFEQ, the script flag allow-key-locking, and where Upstash is no Redis
  --help            Show this
  --version         Show the version

What stands on a command line can be read by every user of the machine in its list of processes. A token, or a URL with a
password, that others may not know goes into the environment.

Faults, each with its probability from 0 to 1 (default: 0); a request meets one at most:
  --drop-request    Not executed, the connection is closed without an answer
  --drop-reply      Executed, then the same
  --delay-reply     Executed, answered later by --delay <time>   (default: 5s)
  --repeat          Executed twice, as by a proxy that sends again
  --status-429, --status-500, --status-503
                    Not executed, answered with this status and an HTML body
  --cut-body        Executed, the connection is closed in the middle of the answer
  --reset           Not executed, the connection is reset
  --sse-cut         An event stream's connection is closed within a second
  --sse-stall       An event stream is accepted, and nothing ever comes
  --sse-refuse      An event stream is answered with 503
  --seed <number>   The same number, the same faults in the same order (default: a random one)

While it runs, POST /faults with JSON such as {"dropReply": 0.1, "seed": 7} sets others in their place, {} none;
GET /faults tells what is set, with the seed, and how often each was met. Both need the token.
`;

/** Wrong arguments: told on stderr, exit code 2. */
class UsageError extends Error {}

async function main(args: string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === undefined || command === "--help" || command === "-h") return print(HELP);
  if (command === "--version" || command === "-v") return print(`${version()}\n`);
  if (command === "dev") return dev(rest);
  if (operatorCommands.includes(command)) return operate(args);
  throw new UsageError(`unknown ${command.startsWith("-") ? "option" : "command"} ${printable(command)}`);
}

async function dev(args: string[]): Promise<void> {
  const values = parseDevArgs(args);
  if (values.help) return print(DEV_HELP);
  if (values.version) return print(`${version()}\n`);
  const server = await startDevServer(devOptions(values)).catch((error) => {
    throw error instanceof LockOptionError ? new UsageError(inFlags(error, values)) : error;
  });
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
  const variables = { UPSTASH_REDIS_REST_URL: server.url, UPSTASH_REDIS_REST_TOKEN: server.token };
  try {
    for (const path of [values["write-env"], values["env-file"]]) {
      if (path !== undefined) writeEnvFile(path, variables);
    }
  } catch (error) {
    await server.close();
    throw new UsageError(`--write-env: ${(error as Error).message}`);
  }
  print(envLines(variables));
  await stopped;
  const used = summary(server);
  await server.close();
  print(used);
}

/** `dropRequest` on the command line: `drop-request`. */
function flagOf(name: string): string {
  return name.replace(/[A-Z]|\d+/g, (part) => `-${part.toLowerCase()}`);
}

const FAULT_NAMES = [...FAULT_KINDS, "delay", "seed"];
const flags = Object.fromEntries(FAULT_NAMES.map((name) => [flagOf(name), { type: "string" } as const]));

/** An option's error, with the option as the command line or the environment has it. */
function inFlags({ option, message }: LockOptionError, values: DevArgs): string {
  const names = option
    .split(" + ")
    .map((name) =>
      isSecret(name) && given(name, values) === undefined ? SECRETS[name] : `--${flagOf(name)}`,
    );
  return names.join(" + ") + message.slice(option.length);
}

/** The options that may be secrets, and the variables that they come from if the command line has none. */
const SECRETS = {
  token: "UPSTASH_REDIS_REST_TOKEN",
  readOnlyToken: "KV_REST_API_READ_ONLY_TOKEN",
  redis: "SERVERLESS_LOCK_DEV_REDIS",
};

function isSecret(name: string): name is keyof typeof SECRETS {
  return Object.hasOwn(SECRETS, name);
}

/** What the command line says of an option. */
function given(name: string, values: DevArgs): string | undefined {
  return (values as Record<string, unknown>)[flagOf(name)] as string | undefined;
}

/** An empty variable is as good as none. */
function secret(name: keyof typeof SECRETS, values: DevArgs): string | undefined {
  return given(name, values) ?? (process.env[SECRETS[name]] || undefined);
}

type DevArgs = ReturnType<typeof parseDevArgs>;

function parseDevArgs(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        port: { type: "string" },
        host: { type: "string" },
        token: { type: "string" },
        "read-only-token": { type: "string" },
        redis: { type: "string" },
        file: { type: "string" },
        "env-file": { type: "string" },
        "write-env": { type: "string" },
        latency: { type: "string" },
        jitter: { type: "string" },
        ...flags,
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

function devOptions(values: DevArgs): DevServerOptions {
  const { port = "8079", host, file, latency, jitter } = values;
  return {
    port: numberIfPlain(port) as number,
    host,
    token: secret("token", values),
    readOnlyToken: secret("readOnlyToken", values),
    redis: secret("redis", values),
    file,
    extensions: !values["no-extensions"],
    latency: numberIfPlain(latency),
    jitter: numberIfPlain(jitter),
    faults: Object.fromEntries(FAULT_NAMES.map((name) => [name, numberIfPlain(given(name, values))])),
  };
}

/** `20` on the command line is the number 20, `0.1` is 0.1; anything else is left for the option's own check. */
function numberIfPlain<T>(text: T): T | number {
  return typeof text === "string" && /^\d*\.?\d+$/.test(text) ? Number(text) : text;
}

function summary(server: DevServer): string {
  const { requests, commands, byCommand } = server.meter();
  const top = Object.entries(byCommand)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 10)
    .map(([name, count]) => `  ${name} ${count}\n`);
  const faults = Object.entries(server.fired())
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `  ${kind} ${count}\n`);
  const met = faults.length > 0 ? ["faults\n", ...faults] : [];
  return `\n${requests} requests, ${commands} billed commands\n${[...top, ...met].join("")}`;
}

function version(): string {
  // The same path from src/ and from dist/.
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { version: string }).version;
}

endWhenOutputFails();
main(process.argv.slice(2)).catch((error: unknown) => {
  const usage = error instanceof UsageError;
  const message = error instanceof Error ? error.message : String(error);
  const lines = message.split("\n").map(printable);
  process.stderr.write(
    `serverless-lock: ${lines.join("\n")}\n${usage ? "See serverless-lock --help, or serverless-lock dev --help\n" : ""}`,
  );
  process.exitCode = usage ? 2 : 1;
});
