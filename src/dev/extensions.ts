import type { Command } from "./command.ts";
import type { Reply } from "./reply.ts";
import { notAvailable } from "./unsupported-commands.ts";

/** What of Upstash's commands the engine has by itself. */
export interface Features {
  delex: boolean;
  setIfEq: boolean;
  echo: boolean;
}

/** A command as the engine gets it. */
export interface Prepared {
  /** The command to send, or the error to answer without asking the engine. */
  send: Command | { error: string };
  /** Turns the engine's reply into the one that the sent command's author expects. */
  answer(reply: Reply): Reply;
}

export type Extensions = (command: Command) => Prepared;

/** The command goes through the first, what comes of it through the second, and the reply all the way back. */
export function inTurn(first: Extensions, second: Extensions): Extensions {
  return (command) => {
    const outer = first(command);
    if ("error" in outer.send) return outer;
    const inner = second(outer.send);
    return { send: inner.send, answer: (reply) => outer.answer(inner.answer(reply)) };
  };
}

/** The first line of a script of ours: what it calls is billed as the one command that it stands for. */
export const EXTENSION_MARK = "-- An extension of the dev server, not a command of its user.";

const DELEX_SCRIPT = `${EXTENSION_MARK}
-- DELEX: deletes a string on a condition, as Redis 8.4 does.
-- KEYS[1] the key. ARGV[1] "IFEQ" or "IFNE". ARGV[2] the value to compare with.
-- Replies 1 when deleted, 0 when not or when there is no such key, an error when it is no string.
local held = redis.pcall("GET", KEYS[1])
if type(held) == "table" then return held end
if held and (held == ARGV[2]) == (ARGV[1] == "IFEQ") then return redis.call("DEL", KEYS[1]) end
return 0`;

const SET_SCRIPT = `${EXTENSION_MARK}
-- SET on a condition, as Redis 8.4 does. A missing key never equals and always differs.
-- KEYS[1] the key. ARGV[1] "IFEQ" or "IFNE". ARGV[2] the value to compare with. ARGV[3] "GET" when the old value is
-- asked for. ARGV[4…] the new value and the other options.
-- Replies what SET replies, nil (or the old value) when the condition does not hold, an error when it is no string.
local held = redis.pcall("GET", KEYS[1])
if type(held) == "table" then return held end
if (held == ARGV[2]) == (ARGV[1] == "IFEQ") then return redis.pcall("SET", KEYS[1], unpack(ARGV, 4)) end
return ARGV[3] == "GET" and held`;

/** Makes up for what the engine lacks. With nothing lacking, every command passes as it is. */
export function createExtensions(has: Features): Extensions {
  return (command) => {
    const name = command[0].toUpperCase();
    if (!has.delex && name === "DELEX") return plain(delex(command));
    if (!has.setIfEq && name === "SET") return plain(conditionalSet(command) ?? command);
    if (!has.echo && name === "ECHO") return plain(echo(command));
    return { send: command, answer: (reply) => inUpstashWords(name, reply) };
  };
}

/** Hands on everything as it is. */
export const noExtensions: Extensions = (command) => plain(command);

function plain(send: Prepared["send"]): Prepared {
  return { send, answer: (reply) => reply };
}

function inUpstashWords(name: string, reply: Reply): Reply {
  return "error" in reply && reply.error.startsWith("ERR unknown command")
    ? { error: notAvailable(name) }
    : reply;
}

function delex([, key, condition, value, ...more]: Command): Prepared["send"] {
  if (key === undefined) return { error: "ERR wrong number of arguments for 'delex' command" };
  if (condition === undefined) return ["DEL", key];
  const test = condition.toString().toUpperCase();
  if ((test !== "IFEQ" && test !== "IFNE") || value === undefined || more.length > 0) {
    return { error: "ERR syntax error" };
  }
  return ["EVAL", DELEX_SCRIPT, "1", key, test, value];
}

const SET_OPTIONS_WITH_VALUE = new Set(["EX", "PX", "EXAT", "PXAT"]);

/** The script for a `SET` with exactly one of IFEQ and IFNE; undefined for any other, which is the engine's matter. */
function conditionalSet([, key, value, ...options]: Command): Command | undefined {
  if (key === undefined || value === undefined) return undefined;
  let condition: Command | undefined;
  let get = "";
  const rest: Command[number][] = [];
  for (let i = 0; i < options.length; i++) {
    const option = options[i] as string | Buffer;
    const name = option.toString().toUpperCase();
    if (name === "IFEQ" || name === "IFNE") {
      const compared = options[++i];
      if (condition || compared === undefined) return undefined;
      condition = [name, compared];
      continue;
    }
    // With NX or XX the engine finds the IFEQ, and calls it the syntax error that it is.
    if (name === "NX" || name === "XX") return undefined;
    if (name === "GET") get = "GET";
    rest.push(option);
    const argument = SET_OPTIONS_WITH_VALUE.has(name) ? options[++i] : undefined;
    if (argument !== undefined) rest.push(argument);
  }
  return condition && ["EVAL", SET_SCRIPT, "1", key, ...condition, get, value, ...rest];
}

function echo([, message, ...more]: Command): Prepared["send"] {
  return message === undefined || more.length > 0
    ? { error: "ERR wrong number of arguments for 'echo' command" }
    : ["PING", message];
}

/**
 * Takes the flag `allow-key-locking` out of a script's first line: engines other than Upstash refuse it.
 * The line stays, empty if need be, so that line numbers are right.
 */
export function withoutLockingFlag(text: string): string {
  return text.replace(/^#!lua[ \t]+flags=([^\s]*)[ \t]*(?=\r?\n|$)/, (line, list: string) => {
    const flags = list.split(",");
    const others = flags.filter((flag) => flag !== "allow-key-locking");
    if (others.length === flags.length) return line;
    return others.length === 0 ? "" : `#!lua flags=${others.join(",")}`;
  });
}
