import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { serve } from "@hono/node-server";
import { build } from "esbuild";

/** What each example is, and what runs it. */
export const examples = {
  route: "functions/route.ts, a function of Vercel or a route of Next.js, on Node",
  hono: "functions/app.ts, with Hono on Node",
  deno: "functions/server.ts, by deno serve",
  bun: "functions/server.ts, by bun",
  worker: "functions/worker.ts, in Cloudflare's workerd, by wrangler dev",
} as const;

export type ExampleName = keyof typeof examples;

/** Where Redis is. */
interface Place {
  url: string;
  token: string;
}

export interface Example {
  url: string;
  close(): Promise<void>;
}

const root = new URL("../../", import.meta.url);
/** Deno, Bun and wrangler are large: they are installed apart from the rest. */
const runtimes = new URL("test/runtimes/guest/", root);

/** A runtime is not there. Its message says how to get it. */
export class MissingRuntimeError extends Error {
  constructor(what: string) {
    super(`${what} is not installed. Run: npm ci --prefix test/runtimes/guest`);
  }
}

/** @throws MissingRuntimeError */
export async function startExample(
  name: ExampleName,
  redis: Place,
  wanted = 0,
  onOutput?: (text: string) => void,
): Promise<Example> {
  const env = { UPSTASH_REDIS_REST_URL: redis.url, UPSTASH_REDIS_REST_TOKEN: redis.token };
  const port = await freePort(wanted);
  const url = `http://127.0.0.1:${port}`;
  const close = await starters[name](port, env, onOutput);
  await reachable(port);
  return { url, close };
}

type OnOutput = ((text: string) => void) | undefined;
type Start = (
  port: number,
  env: Record<string, string>,
  onOutput: OnOutput,
) => Example["close"] | Promise<Example["close"]>;

const starters: Record<ExampleName, Start> = {
  route: async (port, env) => {
    Object.assign(process.env, env);
    const { GET, POST } = await import("../route.ts");
    return onNode(port, (request) => (request.method === "GET" ? GET(request) : POST(request)));
  },
  hono: async (port, env) => {
    Object.assign(process.env, env);
    const { default: app } = await import("../app.ts");
    return onNode(port, app.fetch);
  },
  deno: (port, env, onOutput) =>
    runBundle("server.ts", (file) =>
      spawnIn(
        env,
        onOutput,
        find("deno"),
        "serve",
        "--host=127.0.0.1",
        `--port=${port}`,
        "--allow-net",
        "--allow-env",
        file,
      ),
    ),
  bun: (port, env, onOutput) =>
    runBundle("server.ts", (file) =>
      spawnIn({ ...env, PORT: `${port}` }, onOutput, find("bun"), "run", file),
    ),
  worker: (port, env, onOutput) => {
    const settings = {
      // The environment as the Worker's bindings; nothing asked for or sent elsewhere.
      CLOUDFLARE_INCLUDE_PROCESS_ENV: "true",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_SEND_METRICS: "false",
    };
    const config = fileURLToPath(new URL("functions/wrangler.jsonc", root));
    const flags = ["-c", config, "--ip=127.0.0.1", `--port=${port}`];
    return spawnIn({ ...env, ...settings }, onOutput, find("wrangler"), "dev", ...flags);
  },
};

async function onNode(
  port: number,
  fetch: (request: Request) => Response | Promise<Response>,
): Promise<Example["close"]> {
  const server = serve({ fetch, port, hostname: "127.0.0.1" });
  return async () => {
    server.close();
    await once(server, "close");
  };
}

/** Bundles a function, as it would be deployed, and runs that; its folder goes when it ends. */
async function runBundle(
  name: string,
  run: (file: string) => Example["close"] | Promise<Example["close"]>,
): Promise<Example["close"]> {
  const folder = await mkdtemp(fileURLToPath(new URL(".esbuild-", root)));
  const outfile = join(folder, "bundle.mjs");
  const clean = () => rm(folder, { recursive: true, force: true });
  try {
    await build({
      entryPoints: [fileURLToPath(new URL(`functions/${name}`, root))],
      outfile,
      bundle: true,
      format: "esm",
      platform: "neutral",
      target: "es2023",
      logLevel: "error",
    });
    const end = await run(outfile);
    return async () => {
      await end();
      await clean();
    };
  } catch (error) {
    await clean();
    throw error;
  }
}

function spawnIn(
  env: Record<string, string>,
  onOutput: OnOutput,
  command: string,
  ...args: string[]
): Example["close"] {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  child.stdout.setEncoding("utf8").on("data", (text) => onOutput?.(text));
  const gone = once(child, "exit");
  return async () => {
    child.kill();
    await gone;
  };
}

/** A command of test/runtimes, or on the PATH. */
function find(command: string): string {
  const folders = [
    fileURLToPath(new URL("node_modules/.bin", runtimes)),
    ...(process.env.PATH ?? "").split(delimiter),
  ];
  const found = folders.map((folder) => join(folder, command)).find((file) => existsSync(file));
  if (!found) throw new MissingRuntimeError(command);
  return found;
}

/** The wanted port, or a free one in its place. */
async function freePort(wanted: number): Promise<number> {
  for (const port of [wanted, 0]) {
    const server = createServer().listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
      const { port: free } = server.address() as { port: number };
      await new Promise((resolve) => server.close(resolve));
      return free;
    } catch {}
  }
  throw new Error("no port is free");
}

/** Resolves once somebody listens there. */
async function reachable(port: number): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return;
    } catch {
      await setTimeout(50);
    } finally {
      socket.destroy();
    }
  }
  throw new Error("the example did not start");
}
