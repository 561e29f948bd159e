import { existsSync } from "node:fs";
import { join } from "node:path";
import { guest, runToEnd } from "./host.ts";

/** A runtime, and how to serve the entry in it. */
export interface Runtime {
  /** Its name on the command line, and in front of its keys. */
  id: string;
  name: string;
  /** The file without which it is not installed. */
  needs: string;
  /** What serves the entry, and prints its URL. */
  command: readonly string[];
  /** Where the entry is, at that URL. */
  path?: string;
  env?: Record<string, string>;
  /** Builds what is served, once for all that share it. */
  build?: () => Promise<void>;
}

const modules = join(guest, "node_modules");
const node24 = join(import.meta.dirname, "../../node_modules/node/bin/node");

function node(major: number, needs: string): Runtime {
  return { id: `node${major}`, name: `Node ${major}`, needs, command: [needs, "hosts/node.js"] };
}

function deno(): Runtime {
  const needs = join(modules, "deno/deno");
  const allowed = ["--allow-env", "--allow-net=127.0.0.1"];
  const command = [needs, "run", "--no-config", "--node-modules-dir=manual", ...allowed, "hosts/deno.js"];
  return { id: "deno", name: "Deno", needs, command };
}

function bun(): Runtime {
  const needs = join(modules, "bun/bin/bun.exe");
  return { id: "bun", name: "Bun", needs, command: [needs, "hosts/bun.js"] };
}

function workerd(): Runtime {
  const needs = join(modules, "wrangler/bin/wrangler.js");
  const about = ["--compatibility-date", "2026-10-01", "--ip", "127.0.0.1", "--port", "0"];
  return {
    id: "workerd",
    name: "workerd (Cloudflare)",
    needs,
    command: [node24, needs, "dev", "hosts/worker.js", ...about],
    env: {
      // The environment as the Worker's bindings; nothing asked for or sent elsewhere.
      CLOUDFLARE_INCLUDE_PROCESS_ENV: "true",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_SEND_METRICS: "false",
      WRANGLER_HIDE_BANNER: "true",
    },
  };
}

function edgeRuntime(): Runtime {
  const needs = join(modules, "edge-runtime/package.json");
  return { id: "edge", name: "edge-runtime (Vercel)", needs, command: [node24, "hosts/edge-runtime.js"] };
}

function next(runtime: "nodejs" | "edge"): Runtime {
  return {
    id: `next-${runtime}`,
    name: `Next.js, ${runtime} runtime`,
    needs: nextCli,
    command: [node24, nextCli, "start", "next", "--port", "0", "--hostname", "127.0.0.1"],
    path: `/${runtime}`,
    env: nextEnv,
    build: buildNext,
  };
}

const nextCli = join(modules, "next/dist/bin/next");
const nextEnv = { NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "production" };
let nextBuilt: Promise<void> | undefined;

function buildNext(): Promise<void> {
  // A build evaluates the routes, which want a URL; it is another one when they are served.
  const env = {
    ...nextEnv,
    UPSTASH_REDIS_REST_URL: "http://build.invalid",
    UPSTASH_REDIS_REST_TOKEN: "none",
  };
  nextBuilt ??= runToEnd([node24, nextCli, "build", "next"], env);
  return nextBuilt;
}

export const runtimes: readonly Runtime[] = [
  node(20, join(modules, "node20/bin/node")),
  node(22, join(modules, "node22/bin/node")),
  node(24, node24),
  deno(),
  bun(),
  workerd(),
  edgeRuntime(),
  next("nodejs"),
  next("edge"),
];

export function isInstalled({ needs }: Runtime): boolean {
  return existsSync(needs);
}
