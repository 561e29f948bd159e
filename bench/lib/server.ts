import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Meter } from "serverless-lock/dev";
import { packageVersion, root } from "./report.ts";

/** The dev server in a process of its own, so that its work takes nothing from the measured one. */
export interface ServerProcess {
  url: string;
  token: string;
  pid: number;
  meter(): Promise<Meter>;
  resetMeter(): Promise<void>;
  /** What runs the commands, such as `Redis 7.0.15`. */
  engine(): Promise<string>;
  close(): Promise<void>;
}

/**
 * @param options.latency the simulated round trip in ms
 * @param options.redis URL of a Redis. Default: the embedded engine
 */
export async function startServer(options: {
  latency: number;
  redis?: string | undefined;
}): Promise<ServerProcess> {
  const cli = fileURLToPath(new URL("dist/cli.js", root));
  const args = ["dev", "--port", "0", "--latency", `${options.latency}`];
  if (options.redis) args.push("--redis", options.redis);
  const child = spawn(process.execPath, [cli, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const killWithParent = () => child.kill("SIGKILL");
  process.once("exit", killWithParent);
  const exited = once(child, "exit");

  let output = "";
  const ready = new Promise<boolean>((resolve) => {
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk;
      if (/TOKEN=.*\n/.test(output)) resolve(true);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  });
  if (!(await Promise.race([ready, exited.then(() => false)]))) {
    throw new Error(`The dev server did not start (was the package built?):\n${output}`);
  }
  const [, url = ""] = /URL=(.*)/.exec(output) ?? [];
  const [, token = ""] = /TOKEN=(.*)/.exec(output) ?? [];

  const headers = { authorization: `Bearer ${token}` };
  return {
    url,
    token,
    pid: child.pid as number,
    meter: async () => (await (await fetch(`${url}/meter`, { headers })).json()) as Meter,
    resetMeter: async () => {
      await (await fetch(`${url}/meter`, { headers, method: "DELETE" })).text();
    },
    engine: async () => {
      if (!options.redis) return `js-redis-server ${packageVersion("js-redis-server")}`;
      const response = await fetch(url, { method: "POST", headers, body: '["INFO","server"]' });
      const [, version = "unknown"] = /redis_version:([^\s\\]+)/.exec(await response.text()) ?? [];
      return `Redis ${version}`;
    },
    close: async () => {
      process.off("exit", killWithParent);
      child.kill("SIGTERM");
      await exited;
    },
  };
}
