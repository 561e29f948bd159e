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
  COPY: (command) => ({
    send: command,
    answer: (reply) => (says(reply, "source and destination objects are the same") ? { result: "0" } : reply),
  }),
  SCAN: scanWithTypes,
  XREADGROUP: readWithoutConsumer,
  XTRIM: (command) => exactTrim(command, 2),
  XADD: (command) => exactTrim(command, 2),
  // The engine adds its own now, which is a little later.
  HEXPIRE: (command) => farExpiry(command, (ms) => (ms - soon()) / 1000n),
  HPEXPIRE: (command) => farExpiry(command, (ms) => ms - soon()),
  HEXPIREAT: (command) => farExpiry(command, (ms) => ms / 1000n),
  HPEXPIREAT: (command) => farExpiry(command, (ms) => ms),
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
  // Valkey says no more.
  if (error === "NOSCRIPT No matching script.") return { error: `${error} Please use EVAL.` };
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
 * have, the command stays as it is.
 */
function exactTrim(command: Command, from: number): Prepared | undefined {
  const words = command.map((arg) => arg.toString().toUpperCase());
  let at = from;
  while (["NOMKSTREAM", "KEEPREF", "DELREF", "ACKED"].includes(words[at] ?? "")) at++;
  const trims = words[at] === "MAXLEN" || words[at] === "MINID";
  if (!trims || words[at + 1] !== "~" || words[at + 3] === "LIMIT") return undefined;
  return plain(command.with(at + 1, "=") as Command);
}

/** The latest time that a field of a hash may end at on Redis, in ms. Upstash takes later ones; so does this. */
const LATEST = 2n ** 46n - 1n;
const INT64_MAX = 2n ** 63n - 1n;

function farExpiry(command: Command, latestOf: (ms: bigint) => bigint): Prepared | undefined {
  const time = command[2]?.toString() ?? "";
  if (!/^\d{1,19}$/.test(time)) return undefined;
  const [given, latest] = [BigInt(time), latestOf(LATEST)];
  return given > latest && given <= INT64_MAX ? plain(command.with(2, `${latest}`) as Command) : undefined;
}
