import type { Command } from "./command.ts";

// The first kind has its own path or makes no sense without a connection; the second kind does not exist on Upstash,
// or would harm the engine behind. A read of a stream is refused only where it asks to block.
const NOT_OVER_REST = new Set(
  [
    "AUTH HELLO RESET QUIT CLIENT SELECT MULTI EXEC DISCARD WATCH UNWATCH MONITOR",
    "SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE",
    "BLPOP BRPOP BRPOPLPUSH BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP",
  ].flatMap((names) => names.split(" ")),
);
const NOT_ON_UPSTASH = new Set(
  [
    "ASKING BGREWRITEAOF BGSAVE CLUSTER CONFIG DEBUG FAILOVER LATENCY LOLWUT MEMORY MIGRATE MODULE PFDEBUG PSYNC",
    "READONLY READWRITE REPLCONF REPLICAOF ROLE SAVE SHUTDOWN SLAVEOF SLOWLOG SWAPDB SYNC",
  ].flatMap((names) => names.split(" ")),
);

// Upstash has it. Here it would hold up everybody else's commands, for ever with a timeout of 0.
const NOT_HERE = new Set(["WAIT", "WAITAOF"]);

/** Upstash's error for a command that its REST API does not take, or undefined for one that it does. */
export function refusal(command: Command): string | undefined {
  const name = command[0].toUpperCase();
  const blocks =
    (name === "XREAD" || name === "XREADGROUP") &&
    command.slice(1).some((arg) => arg.toString().toUpperCase() === "BLOCK");
  // The words are as a public note of 2026 quotes them from a live database.
  if (NOT_OVER_REST.has(name) || blocks) {
    return `ERR Command "${name}" is not allowed in REST or it has a special context path`;
  }
  return NOT_ON_UPSTASH.has(name) || NOT_HERE.has(name) ? notAvailable(name) : undefined;
}

/** Upstash's error for a command that it does not know. */
export function notAvailable(name: string): string {
  return `ERR Command is not available: '${name.toUpperCase()}'. See https://upstash.com/docs/redis/overall/rediscompatibility for details`;
}
