import { createHash } from "node:crypto";
import type { Command } from "./command.ts";
import { EXTENSION_MARK } from "./conditional-commands.ts";
import { type Extensions, type Prepared, plain } from "./extensions.ts";
import type { Reply } from "./reply.ts";
import { notAvailable } from "./unsupported-commands.ts";

// Where Upstash answers otherwise than every Redis. Its client's own tests show these answers
// (https://github.com/upstash/redis-js, packages/redis/pkg), unless another source is named.

/** By the command's name. Undefined: this command is the engine's matter. */
const COMMANDS: Record<string, (command: Command) => Prepared | undefined> = {
  COPY: copyWithin,
  // It takes the command for the sake of clients, and tells nothing: https://upstash.com/docs/redis/commands/server/command
  COMMAND: ([, ...args]) => (args.length === 0 ? plain({ result: [] }) : undefined),
  MEMORY: sampled,
  SCAN: scanWithTypes,
  XREADGROUP: readWithoutConsumer,
  XTRIM: exactTrim,
  XADD: exactTrim,
  HEXPIRE: (command) => farExpiry(command, LATEST_BY_UNIT.EX),
  HPEXPIRE: (command) => farExpiry(command, LATEST_BY_UNIT.PX),
  HEXPIREAT: (command) => farExpiry(command, LATEST_BY_UNIT.EXAT),
  HPEXPIREAT: (command) => farExpiry(command, LATEST_BY_UNIT.PXAT),
  HGETEX: farExpiryByUnit,
  HSETEX: farExpiryByUnit,
};

/** Answers as Upstash does. */
export const upstashAnswers: Extensions = (command) => {
  const name = command[0].toUpperCase();
  const prepared = Object.hasOwn(COMMANDS, name) ? COMMANDS[name]?.(command) : undefined;
  if (!prepared) return { send: command, answer: (reply) => inUpstashWords(command, reply) };
  const { send, answer } = prepared;
  return { send, answer: async (reply, ask) => inUpstashWords(command, await answer(reply, ask)) };
};

function inUpstashWords([verb, first = ""]: Command, reply: Reply): Reply {
  if (!("error" in reply)) return reply;
  const { error } = reply;
  const name = verb.toUpperCase();
  if (error.startsWith("ERR unknown command")) return { error: notAvailable(name) };
  const words = VALKEY_WORDS.find(([valkeys]) => valkeys.test(error));
  if (words) return inUpstashWords([verb, first], { error: error.replace(...words) });
  // Valkey 9 leaves out which script it was.
  if (name.startsWith("EVAL") && error.includes("script: on @user_script")) {
    const sha = name.startsWith("EVALSHA") ? `${first}`.toLowerCase() : sha1(first);
    return { error: error.replace("script: on @user_script", `script: ${sha}, on @user_script`) };
  }
  if (name === "FCALL_RO" && error.includes("Write commands are not allowed from read-only scripts")) {
    const place = /@user_function: ?\d+|@user_script: ?\d+/.exec(error)?.[0] ?? "@user_script";
    return {
      error: `ERR Error running script: ${place.replace("function", "script")}: READONLY Write commands are not allowed from read-only scripts`,
    };
  }
  return reply;
}

/** Valkey's words, and those of Redis, which Upstash's are known to be for a script that is not found. */
const VALKEY_WORDS: [valkeys: RegExp, redis: string][] = [
  [/^NOSCRIPT No matching script\.$/, "NOSCRIPT No matching script. Please use EVAL."],
  [/^ERR Unknown command called from script/, "ERR Unknown Redis command called from script"],
  [/^ERR Wrong number of args calling command from/, "ERR Wrong number of args calling Redis command from"],
  [/^ERR Command arguments must be strings/, "ERR Lua redis lib command arguments must be strings"],
  [/^ERR This Valkey command is not/, "ERR This Redis command is not"],
  [/\bserver\.register_function\b/, "redis.register_function"],
];

const soon = () => BigInt(Date.now() + 60_000);
const sha1 = (text: Command[number]) => createHash("sha1").update(text).digest("hex");
const says = (reply: Reply, text: string) => "error" in reply && reply.error.includes(text);

const SCAN_SCRIPT = `${EXTENSION_MARK}
-- SCAN with each key's type. ARGV: the arguments of SCAN. Replies the cursor, and keys and types in turn.
local page = redis.pcall("SCAN", unpack(ARGV))
if page.err then return page end
local items = {}
for _, key in ipairs(page[2]) do
  table.insert(items, key)
  table.insert(items, redis.call("TYPE", key).ok)
end
return {page[1], items}`;

function scanWithTypes([, cursor, ...options]: Command): Prepared | undefined {
  if (cursor === undefined) return undefined;
  const rest: Command[number][] = [];
  let withTypes = false;
  for (let i = 0; i < options.length; i++) {
    const option = options[i] as string | Buffer;
    const name = option.toString().toUpperCase();
    if (name === "WITHTYPE") {
      withTypes = true;
      continue;
    }
    rest.push(option);
    const value = ["MATCH", "COUNT", "TYPE"].includes(name) ? options[++i] : undefined;
    if (value !== undefined) rest.push(value);
  }
  return withTypes ? plain(["EVAL", SCAN_SCRIPT, "0", cursor, ...rest]) : undefined;
}

const READ_SCRIPT = `${EXTENSION_MARK}
-- XREADGROUP with NOACK. It leaves no consumer behind that was not there before.
-- KEYS: the streams. ARGV[1] the group. ARGV[2] the consumer. ARGV[3…] the arguments of XREADGROUP.
local group, consumer, unknown = ARGV[1], ARGV[2], {}
for _, key in ipairs(KEYS) do
  local consumers = redis.pcall("XINFO", "CONSUMERS", key, group)
  local known = consumers.err ~= nil
  for _, one in ipairs(consumers) do known = known or one[2] == consumer end
  if not known then table.insert(unknown, key) end
end
local reply = redis.pcall("XREADGROUP", unpack(ARGV, 3))
for _, key in ipairs(unknown) do redis.pcall("XGROUP", "DELCONSUMER", key, group, consumer) end
return reply`;

function readWithoutConsumer([, ...args]: Command): Prepared | undefined {
  const words = args.map((arg) => arg.toString().toUpperCase());
  let group = -1;
  let noAck = false;
  let i = 0;
  for (; i < words.length && words[i] !== "STREAMS"; i++) {
    if (words[i] === "GROUP") {
      group = i + 1;
      i += 2;
    } else if (words[i] === "COUNT") i++;
    else if (words[i] === "NOACK") noAck = true;
  }
  const streams = args.slice(i + 1);
  const [name, consumer] = [args[group], args[group + 1]];
  if (!noAck || group < 0 || name === undefined || consumer === undefined || streams.length % 2)
    return undefined;
  const keys = streams.slice(0, streams.length / 2);
  return plain(["EVAL", READ_SCRIPT, `${keys.length}`, ...keys, name, consumer, ...args]);
}

/**
 * "About 30" is 29 to 31 on Upstash. Redis keeps whole nodes of 100 entries. With a LIMIT, which an exact trim may not
 * have, the command stays as it is. KEEPREF is what happens without it, and older engines do not know the word.
 */
function exactTrim(command: Command): Prepared | undefined {
  const words = command.map((arg) => arg.toString().toUpperCase());
  const dropped: number[] = [];
  let sign = -1;
  let limited = false;
  let at = 2;
  for (; at < words.length; at++) {
    const word = words[at];
    if (word === "KEEPREF") dropped.push(at);
    else if (word === "MAXLEN" || word === "MINID") {
      if (words[at + 1] === "~") sign = at + 1;
      at += /^[=~]$/.test(words[at + 1] ?? "") ? 2 : 1;
    } else if (word === "LIMIT") {
      limited = true;
      at++;
    } else if (word !== "NOMKSTREAM" && word !== "DELREF" && word !== "ACKED") break;
  }
  const exact = sign !== -1 && !limited;
  if (dropped.length === 0 && !exact) return undefined;
  const signed = exact ? command.with(sign, "=") : command;
  return plain(signed.filter((_, i) => !dropped.includes(i)) as Command);
}

/** Upstash has one database: https://upstash.com/docs/redis/commands/generic/copy. The words are those of Redis. */
function copyWithin(command: Command): Prepared {
  const words = command.map((arg) => arg.toString().toUpperCase());
  const elsewhere = words.some(
    (word, i) => i > 2 && word === "DB" && /^0*[1-9]\d*$/.test(words[i + 1] ?? ""),
  );
  if (elsewhere) return plain({ error: "ERR DB index is out of range" });
  return {
    send: command,
    answer: (reply) => (says(reply, "source and destination objects are the same") ? { result: "0" } : reply),
  };
}

/** Upstash takes any count of samples, and keeps it within limits: https://upstash.com/docs/redis/commands/generic/memory-usage. */
function sampled(command: Command): Prepared | undefined {
  const [, , , option, count] = command.map((arg) => arg.toString().toUpperCase());
  return option === "SAMPLES" && /^-\d+$/.test(count ?? "")
    ? plain(command.with(4, "1") as Command)
    : undefined;
}

/** The latest time that a field of a hash may end at on Redis, in ms. Upstash takes later ones; so does this. */
const LATEST = 2n ** 46n - 1n;
const INT64_MAX = 2n ** 63n - 1n;
const LATEST_BY_UNIT = {
  // The engine adds its own now, which is a little later.
  EX: (ms: bigint) => (ms - soon()) / 1000n,
  PX: (ms: bigint) => ms - soon(),
  EXAT: (ms: bigint) => ms / 1000n,
  PXAT: (ms: bigint) => ms,
};
type Unit = keyof typeof LATEST_BY_UNIT;

function farExpiry(command: Command, latestOf: (ms: bigint) => bigint, at = 2): Prepared | undefined {
  const time = command[at]?.toString() ?? "";
  if (!/^\d{1,19}$/.test(time)) return undefined;
  const [given, latest] = [BigInt(time), latestOf(LATEST)];
  return given > latest && given <= INT64_MAX ? plain(command.with(at, `${latest}`) as Command) : undefined;
}

/** HGETEX and HSETEX: the time stands behind its unit, in front of FIELDS. */
function farExpiryByUnit(command: Command): Prepared | undefined {
  const words = command.map((arg) => arg.toString().toUpperCase());
  const at = words.findIndex(
    (word, i) => i > 1 && (Object.hasOwn(LATEST_BY_UNIT, word) || word === "FIELDS"),
  );
  const latestOf = LATEST_BY_UNIT[words[at] as Unit];
  return latestOf && farExpiry(command, latestOf, at + 1);
}
