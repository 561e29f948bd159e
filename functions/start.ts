import { parseArgs } from "node:util";
import { serve } from "@hono/node-server";
import { createLocker } from "serverless-lock";
import { type DevServer, startDevServer } from "serverless-lock/dev";
import { lockPage } from "serverless-lock/page";
import { type Addresses, invocationUrl, startOffline } from "./demo/offline.ts";
import { show } from "./demo/show.ts";
import { total } from "./demo/tables.ts";

const HELP = `Usage: npm start [-- options]

Starts Upstash's REST API on an embedded Redis and the functions of serverless.yml, charges one order ten times
at once, and stays up with URLs to try. Ctrl-C ends it.

Options:
  --once     End at once, with status 0 if exactly one of the ten got in and the lock was free after it, else 1
  --verbose  Show what serverless-offline says
  --help     Show this
`;

async function main(args: string[]): Promise<number> {
  const { once, verbose, help } = readArgs(args);
  if (help) return print(HELP);

  await using cleanup = new AsyncDisposableStack();
  const interrupted = new Promise<number>((resolve) => {
    // What was to be shown once has not been, then.
    const end = () => resolve(once ? 1 : 0);
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
    // Whoever read the output is gone, as with `| head`.
    process.stdout.on("error", end);
  });
  const dev = await startServer(once ? 0 : 8079);
  cleanup.defer(() => dev.close());
  const offline = startOffline({
    redis: dev,
    ports: once ? undefined : { http: 3000, lambda: 3002 },
    onOutput: verbose ? (text) => process.stderr.write(text) : undefined,
  });
  cleanup.defer(() => offline.stop());

  const demo = async () => {
    print("Starting the functions with serverless-offline: ");
    const start = performance.now();
    const addresses = await offline.ready;
    print(`${((performance.now() - start) / 1000).toFixed(1)} s.\n`);
    if (!once) {
      const page = await startPage(dev);
      cleanup.defer(page.close);
      print(`The locks, live: ${page.url}\n`);
    }
    await show(dev, addresses.http, print);
    if (once) return 0;
    print(`\n${invitation(dev, addresses)}`);
    return interrupted;
  };
  const status = await Promise.race([demo(), interrupted]);
  if (!once) print(`\n${total(dev.meter())}\n`);
  return status;
}

function readArgs(args: string[]) {
  const flag = { type: "boolean", default: false } as const;
  try {
    return parseArgs({ args, options: { once: flag, verbose: flag, help: flag } }).values;
  } catch (error) {
    throw new UsageError((error as Error).message.split(". To specify")[0]);
  }
}

class UsageError extends Error {}

/** On the wanted port, or on a free one where that is taken. */
function startServer(port: number): Promise<DevServer> {
  return startDevServer({ port }).catch((error) => {
    if ((error.cause as NodeJS.ErrnoException | undefined)?.code === "EADDRINUSE") return startDevServer();
    throw error;
  });
}

/** The page of the locks, on this machine alone: a name on the web may lead here, too. */
async function startPage({ url, token }: DevServer) {
  const locker = createLocker({ url, token });
  const authorize = (request: Request) => new URL(request.url).hostname === "127.0.0.1";
  const page = lockPage({ locker, authorize });
  const listening = Promise.withResolvers<number>();
  const server = serve({ fetch: page, hostname: "127.0.0.1", port: 0 }, ({ port }) =>
    listening.resolve(port),
  );
  const close = () => void server.close();
  return { url: `http://127.0.0.1:${await listening.promise}/`, close };
}

function invitation({ url, token }: DevServer, addresses: Addresses): string {
  const order44 = { messageId: "1", body: JSON.stringify({ order: "44" }) };
  const batch = JSON.stringify({ Records: [order44, { messageId: "2", body: "no JSON" }] });
  return `All of it stays up until Ctrl-C. To try:

  # charge an order
  curl -i -X POST ${addresses.http}/orders/43/charge

  # write the nightly report; again within an hour: skipped, with an empty answer
  curl ${invocationUrl(addresses, "report")} \\
    -d '{"time":"2030-01-01T02:00:00Z"}'

  # ship orders from a queue; the second message goes back to it
  curl ${invocationUrl(addresses, "orders-queue")} \\
    -d '${batch}'

  # what was used so far
  curl '${url}/meter?_token=${token}'

  # your own code against this Redis
  export UPSTASH_REDIS_REST_URL=${url}
  export UPSTASH_REDIS_REST_TOKEN=${token}
`;
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const usage = error instanceof UsageError;
  process.stderr.write(
    `\nnpm start: ${(error as Error).message}\n${usage ? "See npm start -- --help\n" : ""}`,
  );
  process.exitCode = usage ? 2 : 1;
}
