import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const cli = createRequire(import.meta.url).resolve("serverless/bin/serverless.js");
// In the child: it ends with its parent, even with one that was killed.
const endWithParent = "process.on('disconnect', () => process.exit()); process.channel?.unref();";

export interface OfflineOptions {
  /** The Redis of the functions. */
  redis: { url: string; token: string };
  /** Where the HTTP API and Lambda's own API listen. 0, or a port that is taken: a free one. */
  ports?: { http: number; lambda: number } | undefined;
  onOutput?: ((text: string) => void) | undefined;
}

export interface Addresses {
  /** The HTTP API. */
  http: string;
  /** Lambda's own API, for `invocationUrl`. */
  lambda: string;
}

export interface Offline {
  /** Rejects with the output when the functions cannot be served. */
  ready: Promise<Addresses>;
  /** Resolves once the child is gone. */
  stop(): Promise<void>;
}

/** Starts `serverless offline` on the functions of `serverless.yml`, built into a folder of its own. */
export function startOffline({ redis, ports = { http: 0, lambda: 0 }, onOutput }: OfflineOptions): Offline {
  let child: ChildProcess | undefined;
  let stopped = false;
  const workFolder = `.esbuild/${process.pid}`;

  async function start(): Promise<Addresses> {
    const [http, lambda] = await freePorts(ports.http, ports.lambda);
    if (stopped) throw new Error("stopped before it started");
    const flags = {
      host: "127.0.0.1",
      httpPort: http,
      lambdaPort: lambda,
      param: `workFolder=${workFolder}`,
    };
    child = spawn(
      process.execPath,
      [
        `--import=data:text/javascript,${encodeURIComponent(endWithParent)}`,
        ...[cli, "offline", "--noPrependStageInUrl", "--noSponsor"],
        ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]),
      ],
      {
        cwd: root,
        env: {
          ...process.env,
          UPSTASH_REDIS_REST_URL: redis.url,
          UPSTASH_REDIS_REST_TOKEN: redis.token,
          SLS_TELEMETRY_DISABLED: "1",
        },
        stdio: ["ignore", "pipe", "pipe", "ipc"],
        // A process group of its own, where there are any: Ctrl-C reaches us alone, and we end all of it.
        detached: process.platform !== "win32",
      },
    );
    await serving(child, onOutput);
    return { http: `http://127.0.0.1:${http}`, lambda: `http://127.0.0.1:${lambda}` };
  }

  const ready = start();
  // Whoever stops before it is ready need not look at it.
  ready.catch(() => {});
  return {
    ready,
    async stop() {
      stopped = true;
      if (child) await end(child);
      await rm(`${root}/${workFolder}`, { recursive: true, force: true });
    },
  };
}

/** Where `POST` of an event invokes a function of `serverless.yml`. */
export function invocationUrl({ lambda }: Addresses, name: string): string {
  return `${lambda}/2015-03-31/functions/shop-dev-${name}/invocations`;
}

/** Resolves once the child says that it serves; rejects with what it said when it ends instead. */
function serving(child: ChildProcess, onOutput: OfflineOptions["onOutput"]): Promise<void> {
  let output = "";
  return new Promise((resolve, reject) => {
    const read = (chunk: string) => {
      onOutput?.(chunk);
      output += chunk;
      if (output.includes("Server ready")) resolve();
    };
    child.stdout?.setEncoding("utf8").on("data", read);
    child.stderr?.setEncoding("utf8").on("data", read);
    child.once("error", reject);
    child.once("close", (code) =>
      reject(new Error(`serverless offline ended with status ${code}:\n\n${output}`)),
    );
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  kill(child, "SIGTERM");
  // It waits for open connections, and might for ever.
  const timer = setTimeout(() => kill(child, "SIGKILL"), 3000);
  await gone;
  clearTimeout(timer);
}

function kill(child: ChildProcess, signal: NodeJS.Signals): void {
  if (process.platform === "win32" || child.pid === undefined) child.kill(signal);
  else process.kill(-child.pid, signal);
}

/** Each wanted port, or a free one in its place. All are held until all are found, so no two are the same. */
async function freePorts(...wanted: number[]): Promise<number[]> {
  const servers = await Promise.all(wanted.map((port) => listen(port).catch(() => listen(0))));
  return Promise.all(
    servers.map(({ port, server }) => new Promise<number>((resolve) => server.close(() => resolve(port)))),
  );
}

function listen(port: number) {
  return new Promise<{ port: number; server: ReturnType<typeof createServer> }>((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      resolve({ port: typeof address === "object" && address ? address.port : port, server });
    });
  });
}
