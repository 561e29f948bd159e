// Holds any server of Upstash's REST API to the contract of the lock.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { ask, type RemoteServer } from "../helpers/remote-backend.ts";

const HELP = `Usage: npm run contract -- --url <url> --token <token>

Tells what a server of Upstash's REST API has of what the lock uses, and runs the lock's contract on it, through each
client. It writes keys that begin with "lock:{key-", and removes what it finds of them.

Options:
  --url <url>      The server (default: $UPSTASH_REDIS_REST_URL)
  --token <token>  Its token  (default: $UPSTASH_REDIS_REST_TOKEN)
  --help           Show this

Exit code: 0, or 1 when a test failed, or 2 for wrong arguments.
`;

interface Ability {
  name: string;
  /** What a server without it costs. */
  without: string;
  has(server: RemoteServer): Promise<boolean>;
}

const key = `lock:{key-probe-${Date.now()}}`;
const answers =
  (...command: string[]) =>
  (server: RemoteServer) =>
    ask(server, ...command).then(
      () => true,
      () => false,
    );
const SCRIPT = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000)";

const ABILITIES: Ability[] = [
  {
    name: "SET … NX GET PX",
    without: "no lock can be taken",
    has: answers("SET", key, "probe", "NX", "GET", "PX", "1000"),
  },
  { name: "EVAL", without: "nobody can wait, or be renewed", has: answers("EVAL", SCRIPT, "1", key, "x") },
  { name: "DELEX … IFEQ", without: "release goes by a script", has: answers("DELEX", key, "IFEQ", "probe") },
  {
    name: "PUBLISH in a script",
    without: "waiters poll",
    has: answers("EVAL", "return redis.call('PUBLISH', KEYS[1], '')", "1", key),
  },
  { name: "a stream at /subscribe", without: "waiters poll", has: streams },
  {
    name: "the script flag allow-key-locking",
    without: "scripts go without it",
    has: answers("EVAL", "#!lua flags=allow-key-locking\nreturn 1", "0"),
  },
  { name: "WAIT", without: "the option replicas cannot be used", has: answers("WAIT", "0", "1") },
];

/** Whether the server confirms a subscription within two seconds. */
async function streams({ url, token }: RemoteServer): Promise<boolean> {
  try {
    const response = await fetch(`${url}/subscribe/lock-probe`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, accept: "text/event-stream" },
      signal: AbortSignal.timeout(2000),
    });
    for await (const bytes of response.body ?? []) {
      if (Buffer.from(bytes).toString().includes("data: subscribe,")) return true;
    }
  } catch {
    // No answer, or none in time.
  }
  return false;
}

/** In the server's own words, so that a wrong URL or token is told before forty tests fail. */
async function main(): Promise<number> {
  const wrongUse = (why: string) => {
    process.stderr.write(`${why}\n\n${HELP}`);
    return 2;
  };
  let values: { url?: string; token?: string; help?: boolean };
  try {
    ({ values } = parseArgs({
      options: { url: { type: "string" }, token: { type: "string" }, help: { type: "boolean" } },
    }));
  } catch (error) {
    return wrongUse((error as Error).message);
  }
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const { UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN } = process.env;
  const { url = UPSTASH_REDIS_REST_URL, token = UPSTASH_REDIS_REST_TOKEN } = values;
  if (!url || !token) return wrongUse("Both --url and --token are needed.");
  if (!/^https?:/.test(url) || !URL.canParse(url)) return wrongUse("--url: expected one with http or https");
  const server = { url: url.replace(/\/+$/, ""), token };
  try {
    await ask(server, "PING");
  } catch (error) {
    process.stderr.write(`${server.url} cannot be asked: ${(error as Error).message}\n`);
    return 1;
  }
  const lacking: Ability[] = [];
  for (const ability of ABILITIES) {
    const { name, without, has } = ability;
    const found = await has(server);
    console.log(found ? `has   ${name}` : `lacks ${name}: ${without}`);
    if (!found) lacking.push(ability);
  }
  const polls = lacking.some(({ has }) => has === streams);
  const { status } = spawnSync(
    "vitest",
    ["run", "test/contract", "--project", "as built", "--testNamePattern", ` on ${escaped(server.url)}`],
    {
      stdio: "inherit",
      env: {
        ...process.env,
        CONTRACT_URL: server.url,
        CONTRACT_TOKEN: token,
        ...(polls && { CONTRACT_POLLS: "1" }),
      },
    },
  );
  return status ?? 1;
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

process.exitCode = await main();
