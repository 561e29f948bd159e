import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether a `redis-server` binary is on the PATH: suites that need one skip themselves by name without it. */
export const hasRedisServer: boolean = spawnSync("redis-server", ["--version"]).status === 0;

export interface RunningRedis {
  url: string;
  port: number;
  pid: number;
  /** Kills the server and removes its directory. */
  close(): Promise<void>;
}

/**
 * Starts a Redis of one's own on loopback, with nothing written to disk, and resolves once it accepts connections.
 *
 * @param options.port a port to insist on, to start a server again where another one was. Default: a free one.
 * @param options.args further arguments for `redis-server`.
 * @param options.command the server to start. Default: the `redis-server` on the PATH.
 */
export async function startRedis(
  options: { port?: number; args?: string[]; command?: string } = {},
): Promise<RunningRedis> {
  // Between choosing a free port and Redis binding it, another process may take it: then try another.
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    try {
      return await launch(options.command ?? "redis-server", port, options.args ?? []);
    } catch (error) {
      if (options.port !== undefined || attempt === 5) throw error;
    }
  }
}

async function launch(command: string, port: number, extra: string[]): Promise<RunningRedis> {
  const dir = await mkdtemp(join(tmpdir(), "serverless-lock-redis-"));
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"];
  const child = spawn(command, [...args, ...extra], { stdio: ["ignore", "pipe", "pipe"] });
  // Its log says when it is ready. A PING would not do: another server on the same port answers that too.
  let log = "";
  const ready = new Promise<boolean>((resolve) => {
    const read = (chunk: Buffer) => {
      log += chunk;
      if (log.includes("Ready to accept connections")) resolve(true);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
  });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", (error) => {
      log += error.message;
      resolve();
    });
  });
  // A test run that dies must not leave its servers behind.
  const killWithParent = () => child.kill("SIGKILL");
  process.once("exit", killWithParent);

  const close = async () => {
    process.off("exit", killWithParent);
    child.kill("SIGKILL");
    await exited;
    await rm(dir, { recursive: true, force: true });
  };

  const accepts = await Promise.race([ready, exited.then(() => false)]);
  if (!accepts || child.pid === undefined) {
    await close();
    throw new Error(`redis-server did not start on port ${port}:\n${log}`);
  }
  return { url: `redis://127.0.0.1:${port}`, port, pid: child.pid, close };
}

/** A port nobody listens on at the moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port")),
      );
    });
  });
}
