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
  "ASKING BGREWRITEAOF BGSAVE CLUSTER DEBUG FAILOVER LATENCY LOLWUT MIGRATE MODULE PFDEBUG PFSELFTEST PSYNC",
  "READONLY READWRITE REPLCONF REPLICAOF RESTORE-ASKING ROLE SAVE SHUTDOWN SLAVEOF SLOWLOG SWAPDB SYNC",
);
/**
 * Requests may run them within limits. In a script WAIT would hold up everybody's commands, CONFIG tells a password,
 * and ACL changes who may do what on a Redis that serves others too.
 */
const NOT_IN_SCRIPTS = setOf("ACL CONFIG WAIT WAITAOF");
/**
 * Of commands that are otherwise taken. KILL and DEBUG reach into other clients' scripts or change the connection that
 * all share. A dump could bring in a library that no guard has seen; Upstash has neither DUMP nor RESTORE.
 */
const UNSUPPORTED_SUBCOMMANDS: Record<string, ReadonlySet<string>> = {
  SCRIPT: setOf("DEBUG KILL"),
  FUNCTION: setOf("DUMP KILL RESTORE"),
};
/** Of commands that are otherwise refused. */
const SUPPORTED_SUBCOMMANDS: Record<string, ReadonlySet<string>> = {
  ACL: setOf("RESTTOKEN"),
  CONFIG: setOf("GET SET"),
  MEMORY: setOf("USAGE"),
};

/** The names of the commands that no script can run. */
export const unsupportedNames: ReadonlySet<string> = new Set([
  ...NOT_OVER_REST,
  ...NOT_ON_UPSTASH,
  ...NOT_IN_SCRIPTS,
]);

/** Upstash's error for a command that its REST API does not take, or undefined for one that it does. */
export function refusal(command: Command): string | undefined {
  const name = command[0].toUpperCase();
  // The words are as a public note of 2026 quotes them from a live database.
  if (NOT_OVER_REST.has(name) || blocks(command)) {
    return `ERR Command "${name}" is not allowed in REST or it has a special context path`;
  }
  const subcommand = command[1]?.toString().toUpperCase() ?? "";
  const of = (table: Record<string, ReadonlySet<string>>) =>
    Object.hasOwn(table, name) ? table[name] : undefined;
  const supported = of(SUPPORTED_SUBCOMMANDS);
  if (of(UNSUPPORTED_SUBCOMMANDS)?.has(subcommand) || (supported && !supported.has(subcommand))) {
    return notAvailable(`${name} ${subcommand}`.trim());
  }
  return NOT_ON_UPSTASH.has(name) ? notAvailable(name) : undefined;
}

/** Words before STREAMS that another word belongs to, and how many. */
const READ_OPTIONS: Record<string, number> = { COUNT: 1, GROUP: 2, CLAIM: 1 };

/** Whether a read of streams asks to block. A stream, a group or a consumer may have any name. */
function blocks([name, ...args]: Command): boolean {
  if (!/^xread(group)?$/i.test(name)) return false;
  const words = args.map((arg) => arg.toString().toUpperCase());
  for (let i = 0; i < words.length && words[i] !== "STREAMS"; i++) {
    const word = words[i] as string;
    if (word === "BLOCK") return true;
    if (Object.hasOwn(READ_OPTIONS, word)) i += READ_OPTIONS[word] as number;
  }
  return false;
}

/** Upstash's error for a command that it does not know. */
export function notAvailable(name: string): string {
  return `ERR Command is not available: '${name.toUpperCase()}'. See https://upstash.com/docs/redis/overall/rediscompatibility for details`;
}
