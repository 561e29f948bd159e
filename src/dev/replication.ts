import type { Redis } from "ioredis";
import type { Command } from "./command.ts";
import type { Reply } from "./reply.ts";

/** Ms. Redis waits for ever with a timeout of 0, which no request over HTTP would live to see. */
const LONGEST_WAIT = 60_000;

/** WAIT and WAITAOF, each on a connection of its own: Redis answers nobody else on it meanwhile. */
export interface ReplicaWait {
  /** Upstash waits for all writes before, those of other connections too. */
  wait(command: Command): Promise<Reply>;
  close(): void;
}

export function waitsForReplicas([name]: Command): boolean {
  return /^wait(aof)?$/i.test(name);
}

/**
 * @param connect opens one more connection.
 * @param send sends a command over a connection.
 */
export function createReplicaWait(
  connect: () => Promise<Redis>,
  send: (redis: Redis, command: Command) => Promise<Reply>,
): ReplicaWait {
  const idle: Redis[] = [];
  const all = new Set<Redis>();

  async function onOwnConnection(task: (redis: Redis) => Promise<Reply>): Promise<Reply> {
    const redis = idle.pop() ?? (await connect());
    all.add(redis);
    try {
      return await task(redis);
    } finally {
      idle.push(redis);
    }
  }

  async function wait(redis: Redis, [name, ...args]: Command): Promise<Reply> {
    const info = await send(redis, ["INFO", "replication"]);
    const alone = "result" in info && /connected_slaves:0\b/.test(`${info.result}`);
    const timeout = args.at(-1)?.toString() ?? "";
    const limited = /^\d+$/.test(timeout) ? [...args.slice(0, -1), `${limit(Number(timeout), alone)}`] : args;
    // Redis waits for all that was written before this connection's own last write, whoever wrote it. A message that
    // nobody hears counts as a write, and leaves nothing behind.
    const mark: Command = ["PUBLISH", "serverless-lock:wait", ""];
    const [, reply] = await Promise.all([send(redis, mark), send(redis, [name, ...limited])]);
    return reply;
  }

  /** Upstash keeps what it confirms. Where the engine keeps no file, a made-up 1 stands for the local copy. */
  async function waitForFiles(redis: Redis, command: Command): Promise<Reply> {
    const reply = await wait(redis, command);
    const [, local, replicas, timeout, ...more] = command;
    const keepsNone = "error" in reply && /^ERR (unknown command|WAITAOF cannot be used)/.test(reply.error);
    if (!keepsNone) return reply;
    // In the words of a Redis that knows it.
    if (local === undefined || replicas === undefined || timeout === undefined || more.length > 0) {
      return { error: "ERR wrong number of arguments for 'waitaof' command" };
    }
    if (!/^-?\d+$/.test(local.toString())) return { error: "ERR value is not an integer or out of range" };
    if (!/^[01]$/.test(local.toString())) {
      return { error: "ERR value is out of range, value must between 0 and 1" };
    }
    const waited = await wait(redis, ["WAIT", replicas, timeout]);
    return "error" in waited ? waited : { result: ["1", waited.result] };
  }

  return {
    wait: (command) =>
      onOwnConnection((redis) =>
        command[0].toUpperCase() === "WAIT" ? wait(redis, command) : waitForFiles(redis, command),
      ),
    close() {
      for (const redis of all) redis.disconnect();
    },
  };
}

/** Without a replica there is nothing to wait for. */
function limit(timeout: number, alone: boolean): number {
  if (alone) return 1;
  return timeout === 0 ? LONGEST_WAIT : Math.min(timeout, LONGEST_WAIT);
}
