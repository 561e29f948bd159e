import type { Command } from "./command.ts";

const setOf = (...lists: string[]) => new Set(lists.flatMap((names) => names.split(" ")));

/** They have a path of their own, or make no sense without a connection. */
const NOT_OVER_REST = setOf(
  "AUTH HELLO RESET QUIT CLIENT SELECT MULTI EXEC DISCARD WATCH UNWATCH MONITOR",
  "SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE",
  "BLPOP BRPOP BRPOPLPUSH BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP",
);
/** They do not exist on Upstash, or would harm the engine behind. */
const NOT_ON_UPSTASH = setOf(
  "ASKING BGREWRITEAOF BGSAVE CLUSTER CONFIG DEBUG FAILOVER LATENCY LOLWUT MEMORY MIGRATE MODULE PFDEBUG",
  "PFSELFTEST PSYNC READONLY READWRITE REPLCONF REPLICAOF RESTORE-ASKING ROLE SAVE SHUTDOWN SLAVEOF SLOWLOG",
  "SWAPDB SYNC",
);
/**
 * Upstash has them. Here WAIT would hold up everybody's commands, for ever with a timeout of 0, and ACL would change
 * who may do what on a Redis that serves others too.
 */
const NOT_HERE = setOf("WAIT WAITAOF ACL");
/**
 * Of commands that are otherwise taken. KILL and DEBUG reach into other clients' scripts or change the connection that
 * all share. A dump could bring in a library that no guard has seen; Upstash has neither DUMP nor RESTORE.
 */
const SUBCOMMANDS: Record<string, ReadonlySet<string>> = {
  SCRIPT: setOf("DEBUG KILL"),
  FUNCTION: setOf("DUMP KILL RESTORE"),
};

/** The names of the commands that nobody can run, neither by a request nor by a script. */
export const unsupportedNames: ReadonlySet<string> = new Set([
  ...NOT_OVER_REST,
  ...NOT_ON_UPSTASH,
  ...NOT_HERE,
]);

/** Upstash's error for a command that its REST API does not take, or undefined for one that it does. */
export function refusal(command: Command): string | undefined {
  const name = command[0].toUpperCase();
  // A read of a stream is refused only if it asks to block.
  const blocks =
    (name === "XREAD" || name === "XREADGROUP") &&
    command.slice(1).some((arg) => arg.toString().toUpperCase() === "BLOCK");
  // The words are as a public note of 2026 quotes them from a live database.
  if (NOT_OVER_REST.has(name) || blocks) {
    return `ERR Command "${name}" is not allowed in REST or it has a special context path`;
  }
  const subcommand = command[1]?.toString().toUpperCase() ?? "";
  if (Object.hasOwn(SUBCOMMANDS, name) && SUBCOMMANDS[name]?.has(subcommand)) {
    return notAvailable(`${name} ${subcommand}`);
  }
  return unsupportedNames.has(name) ? notAvailable(name) : undefined;
}

/** Upstash's error for a command that it does not know. */
export function notAvailable(name: string): string {
  return `ERR Command is not available: '${name.toUpperCase()}'. See https://upstash.com/docs/redis/overall/rediscompatibility for details`;
}
