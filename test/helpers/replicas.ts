import { Redis } from "ioredis";
import { type RunningRedis, startRedis } from "./redis-server.ts";

/** A replica of a Redis. */
export interface Replica extends RunningRedis {
  /** Straight to it. */
  raw: Redis;
  /** From now on it takes nothing in and confirms nothing, until `wake`. */
  freeze(): void;
  wake(): void;
  /** Makes a primary of it. */
  promote(): Promise<void>;
}

/** For a primary: replicas are served as soon as they ask. */
export const primaryArgs: string[] = ["--repl-diskless-sync-delay", "0"];

/**
 * Starts a replica, and resolves once it follows its primary.
 * @param port where the primary is, or what stands in front of it
 */
export async function startReplica(port: number, command?: string): Promise<Replica> {
  const args = [...primaryArgs, "--replicaof", "127.0.0.1", `${port}`];
  const redis = await startRedis(command === undefined ? { args } : { args, command });
  const raw = new Redis(redis.url);
  for (;;) {
    const info = await raw.info("replication");
    if (info.includes("master_link_status:up")) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const wake = () => void process.kill(redis.pid, "SIGCONT");
  return {
    ...redis,
    raw,
    freeze: () => void process.kill(redis.pid, "SIGSTOP"),
    wake,
    async promote() {
      await raw.call("REPLICAOF", "NO", "ONE");
    },
    async close() {
      raw.disconnect();
      await redis.close();
    },
  };
}
