import { encodePlain } from "../protocol/state.ts";
import { type Command, type RedisClient, RefusedError } from "../redis/client.ts";
import { forever, whenAborted } from "../runtime.ts";
import { createMemoryRedis } from "./memory-redis.ts";

/**
 * What a memory can be told to do until it is told to `heal`:
 * - `"busy"`: another holds every lock that is free, and asked for from now on; of one that is held already, nobody
 *   else gets a part or has a turn
 * - `"lost"`: every lock held is lost, and each taken from now on is lost at once: its holder learns so by its next
 *   renewal, `extend` or `release`
 * - `"unavailable"`: no request is answered, as with a token that was taken back
 */
export type Failure = "busy" | "lost" | "unavailable";

export interface Failing {
  /** From now on, until `heal`, locks fail in this way. */
  fail(how: Failure): void;
  /** From now on locks work again, and those that another held are free. */
  heal(): void;
}

/** A memory in Redis' place, which can be made to fail. */
export interface Memory extends Failing, RedisClient {}

/** Who holds what was told to be busy. Its lease is one like any other: `retryAfter` tells of it. */
const another = { token: "0".repeat(32), lease: 10_000, owner: "another" };

export function createMemory(): Memory {
  const listeners = new Map<string, Set<(message: string) => void>>();
  const redis = createMemoryRedis({
    now: () => Date.now(),
    publish(channel, message) {
      const hearing = listeners.get(channel) ?? [];
      for (const hear of hearing) hear(message);
      return [...hearing].length;
    },
  });
  let failure: Failure | undefined;
  const byAnother = new Set<string>();
  /** Locks that were held when they were to be busy: nobody else is let in, as while an operator has paused them. */
  const closed = new Set<string>();

  function takeByAnother(key: string): void {
    const value = encodePlain({ ...another, since: Date.now() });
    if (redis.command("SET", key, value, "NX", "PX", String(another.lease))) byAnother.add(key);
    else if (!byAnother.has(key) && !isPaused(key)) {
      steer(key, "1");
      closed.add(key);
    }
  }

  function isPaused(key: string): boolean {
    return /^\d*:1:/.test(`${redis.command("GET", `${key}:operator`)}`);
  }

  function steer(key: string, pause: string): void {
    redis.command("EVAL", "", "2", key, `${key}:operator`, "-", pause, "steer");
  }

  function execute(command: Command): unknown {
    if (failure === "unavailable") throw new RefusedError("the memory was told to be unavailable");
    const wanted = keysWanted(command);
    if (failure === "busy") wanted.forEach(takeByAnother);
    const reply = redis.command(...(command.map(String) as [string, ...string[]]));
    if (failure === "lost") for (const key of wanted) redis.command("DEL", key);
    return reply;
  }

  return {
    exact: true,
    resendsAfter: forever,
    async send(commands) {
      return commands.map(execute);
    },
    async listen(channel, hear, signal) {
      const hearing = listeners.get(channel) ?? new Set();
      listeners.set(channel, hearing.add(hear));
      hear("");
      await new Promise<void>((resolve) => whenAborted(signal, resolve));
      hearing.delete(hear);
      if (hearing.size === 0) listeners.delete(channel);
    },
    fail(how) {
      failure = how;
      if (how === "lost") redis.command("FLUSHALL");
    },
    heal() {
      failure = undefined;
      for (const key of byAnother)
        redis.command("EVAL", "", "2", key, `${key}:operator`, "0", another.token, "release");
      byAnother.clear();
      for (const key of closed) steer(key, "");
      closed.clear();
    },
  };
}

/** The keys of the locks that a command is to take. */
function keysWanted([name, ...args]: Command): string[] {
  if (name === "SET") return args[2] === "NX" ? [String(args[0])] : [];
  if (name !== "EVAL" || args.at(-1) !== "join") return [];
  // Each lock has four: its own, and three beside it.
  const keys = args.slice(2, 2 + Number(args[1]));
  return keys.filter((_, i) => i % 4 === 0).map(String);
}
