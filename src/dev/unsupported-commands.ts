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
 * Redis up to 8.6 or Valkey up to 9.1 have them, and Upstash's reference of its commands, as of August 2026, has not
 * (https://upstash.com/docs/redis/commands/overview). MOVE would write to a database that nobody sees.
 */
const NOT_DOCUMENTED = setOf(
  "LASTSAVE LCS MOVE OBJECT SORT SORT_RO SPUBLISH SUBSTR XSETID",
  "CLUSTERSCAN COMMANDLOG DELIFEQ HOTKEYS MSETEX TRIMSLOTS XCFGSET XIDMPRECORD",
  "VADD VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VRANGE VREM VSETATTR VSIM",
);
/**
 * Requests may run them within limits. In a script WAIT would hold up everybody's commands, CONFIG tells a password,
 * and ACL changes who may do what on a Redis that serves others too.
 */
const NOT_IN_SCRIPTS = setOf("ACL CONFIG WAIT WAITAOF");
/**
 * Of commands that are otherwise taken. DEBUG changes the connection that all share. A dump could bring in a library
 * that no guard has seen; Upstash has neither FUNCTION DUMP nor FUNCTION RESTORE, and no shards.
 */
const UNSUPPORTED_SUBCOMMANDS: Record<string, ReadonlySet<string>> = {
  SCRIPT: setOf("DEBUG"),
  FUNCTION: setOf("DUMP RESTORE"),
  PUBSUB: setOf("SHARDCHANNELS SHARDNUMSUB"),
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
  ...NOT_DOCUMENTED,
  ...NOT_IN_SCRIPTS,
]);

/** Upstash's error for a command that needs a connection, or undefined for every other. */
export function notOverRest(command: Command): string | undefined {
  const name = command[0].toUpperCase();
  // The words are as a public note of 2026 quotes them from a live database.
  return NOT_OVER_REST.has(name) || blocks(command)
    ? `ERR Command "${name}" is not allowed in REST or it has a special context path`
    : undefined;
}

/** Upstash's error for a command that it has not, or undefined for one that it has. */
export function notOnUpstash(command: Command): string | undefined {
  const name = command[0].toUpperCase();
  const subcommand = command[1]?.toString().toUpperCase() ?? "";
  // Upstash has none that could be stopped (https://upstash.com/docs/redis/commands/scripting/script-kill). Here it would
  // be somebody else's. The words are those of Redis.
  if (/^(SCRIPT|FUNCTION)$/.test(name) && subcommand === "KILL") {
    return "NOTBUSY No scripts in execution right now.";
  }
  const of = (table: Record<string, ReadonlySet<string>>) =>
    Object.hasOwn(table, name) ? table[name] : undefined;
  const supported = of(SUPPORTED_SUBCOMMANDS);
  if (of(UNSUPPORTED_SUBCOMMANDS)?.has(subcommand) || (supported && !supported.has(subcommand))) {
    return notAvailable(`${name} ${subcommand}`.trim());
  }
  return NOT_ON_UPSTASH.has(name) || NOT_DOCUMENTED.has(name) ? notAvailable(name) : undefined;
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
