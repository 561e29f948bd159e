import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { freePort } from "../helpers/redis-server.ts";

/** A Redis that can be paused, killed and started again on its port, with its data or without. */
export interface StormyRedis {
  url: string;
  /** Whether it loses its data when it is killed. */
  forgets: boolean;
  pause(): void;
  resume(): void;
  /** Kills it, as a machine that fails would; resolves once it is gone. */
  kill(): Promise<void>;
  /** Starts it again; resolves once it accepts connections. */
  start(): Promise<void>;
}

/**
 * @param folder for its append-only file
 * @param persistence whether an answered write outlives a kill. What is killed is the process, not the machine: it is
 * enough that each write was handed to the kernel before it was answered, which costs no wait for the disk.
 */
export async function startStormyRedis(folder: string, persistence: boolean): Promise<StormyRedis> {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  // Rewritten when it has grown, so that it is read at once at the next start.
  const small = ["--auto-aof-rewrite-min-size", "1mb", "--auto-aof-rewrite-percentage", "100"];
  const kept = persistence
    ? ["--appendonly", "yes", "--appendfsync", "no", ...small]
    : ["--appendonly", "no"];
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", "", ...kept];
  let child: ChildProcess;
  // A storm that dies must not leave its Redis behind.
  process.once("exit", () => child.kill("SIGKILL"));

  const redis: StormyRedis = {
    url: `redis://127.0.0.1:${port}`,
    forgets: !persistence,
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    async kill() {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
    async start() {
      const started = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
      child = started;
      let output = "";
      await new Promise<void>((resolve, reject) => {
        started.stdout.on("data", (chunk: Buffer) => {
          if (output === "ready") return;
          output += chunk;
          if (!output.includes("Ready to accept connections")) return;
          output = "ready";
          resolve();
        });
        started.once("error", reject);
        started.once("exit", () => reject(new Error(`redis-server did not start:\n${output}`)));
      });
    },
  };
  await redis.start();
  return redis;
}
