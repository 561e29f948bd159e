import type { Command } from "./command.ts";
import { type Ask, type Extensions, plain } from "./extensions.ts";
import type { RedisValue, Reply } from "./reply.ts";
import { LOCKING_SUFFIX, TWIN_SUFFIX } from "./script-guard.ts";

/**
 * FCALL_RO runs a function that only reads, even without the flag `no-writes`, as Upstash does; Redis refuses it. So
 * each function of a guarded library has a twin with that flag, which FCALL_RO runs and nobody sees. A second twin marks
 * a function with the flag `allow-key-locking`, which Upstash takes
 * (https://upstash.com/docs/redis/commands/functions/function-load) and Redis does not.
 */
export const functionTwins: Extensions = (command) => {
  const [name, first = "", ...rest] = command;
  const verb = name.toUpperCase();
  const subcommand = first.toString().toUpperCase();
  if (verb === "FCALL_RO" && first !== "") {
    return {
      send: [name, first + TWIN_SUFFIX, ...rest],
      // A library that was loaded past this server has no twins.
      answer: async (reply, ask) => withoutSuffix(isUnknown(reply) ? await ask(command) : reply),
    };
  }
  if (verb === "FUNCTION" && subcommand === "LIST") {
    return {
      send: command,
      answer: (reply) => ("error" in reply ? reply : { result: hidden(reply.result) }),
    };
  }
  if (verb === "FUNCTION" && subcommand === "STATS") {
    return { send: command, answer: (reply, ask) => withoutTwins(reply, ask) };
  }
  return plain(command);
};

function isUnknown(reply: Reply): boolean {
  return "error" in reply && reply.error.startsWith("ERR Function not found");
}

function withoutSuffix(reply: Reply): Reply {
  return "error" in reply ? { error: reply.error.replaceAll(TWIN_SUFFIX, "") } : reply;
}

/** FUNCTION LIST: pairs of names and values in turn, the functions among them. */
function hidden(libraries: RedisValue): RedisValue {
  if (!Array.isArray(libraries)) return libraries;
  return libraries.map((library) =>
    Array.isArray(library)
      ? library.map((item, i) =>
          `${library[i - 1]}` === "functions" && Array.isArray(item) ? asRegistered(item) : item,
        )
      : library,
  );
}

/** The functions without their twins, and with the flags that they were registered with. */
function asRegistered(functions: RedisValue[]): RedisValue[] {
  const names = new Set(functions.map(nameOf));
  return functions
    .filter((entry) => !TWIN.test(nameOf(entry)))
    .map((entry) => (names.has(nameOf(entry) + LOCKING_SUFFIX) ? withLockingFlag(entry) : entry));
}

const TWIN = new RegExp(`(${TWIN_SUFFIX}|${LOCKING_SUFFIX})$`);

function nameOf(entry: RedisValue): string {
  return Array.isArray(entry) ? `${entry[entry.findIndex((item) => `${item}` === "name") + 1]}` : "";
}

function withLockingFlag(entry: RedisValue): RedisValue {
  if (!Array.isArray(entry)) return entry;
  return entry.map((item, i) =>
    `${entry[i - 1]}` === "flags" && Array.isArray(item) ? [...item, Buffer.from("allow-key-locking")] : item,
  );
}

async function withoutTwins(reply: Reply, ask: Ask): Promise<Reply> {
  const list: Command = ["FUNCTION", "LIST"];
  const libraries = await ask(list);
  if ("error" in reply || "error" in libraries) return reply;
  const twins = count(libraries.result) - count(hidden(libraries.result));
  const change = (value: RedisValue): RedisValue =>
    Array.isArray(value)
      ? value.map((item, i) =>
          `${value[i - 1]}` === "functions_count" ? `${Number(item) - twins}` : change(item),
        )
      : value;
  return { result: change(reply.result) };
}

/** The functions in a reply of FUNCTION LIST. */
function count(libraries: RedisValue): number {
  if (!Array.isArray(libraries)) return 0;
  return libraries.flatMap((library) =>
    Array.isArray(library)
      ? library.flatMap((item, i) => (`${library[i - 1]}` === "functions" ? (item as RedisValue[]) : []))
      : [],
  ).length;
}
