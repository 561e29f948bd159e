import { createHash } from "node:crypto";
import type { Command } from "./command.ts";
import { notAvailable } from "./refused.ts";
import type { RedisValue, Reply } from "./reply.ts";

/** What of Upstash's commands the engine has by itself. */
export interface Features {
  delex: boolean;
  setIfEq: boolean;
  allowKeyLocking: boolean;
  echo: boolean;
}

/** A command as the engine gets it. */
interface Prepared {
  /** The command to send, or the error to answer without asking the engine. */
  send: Command | { error: string };
  /** Turns the engine's reply into the one that the sent command's author expects. */
  answer(reply: Reply): Reply;
}

export type Extensions = (command: Command) => Prepared;

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
  const scripts = has.allowKeyLocking ? undefined : scriptsWithoutFlag();
  return (command) => {
    const name = command[0].toUpperCase();
    if (!has.delex && name === "DELEX") return plain(delex(command));
    if (!has.setIfEq && name === "SET") return plain(conditionalSet(command) ?? command);
    if (!has.echo && name === "ECHO") return plain(echo(command));
    const prepared = scripts?.(name, command) ?? plain(command);
    return { ...prepared, answer: (reply) => inUpstashWords(name, prepared.answer(reply)) };
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
 * Takes the flag `allow-key-locking` out of a script's first line, which engines other than Upstash refuse, and keeps
 * up the appearance that the script went through as it was: the same SHA, the same line numbers.
 */
function scriptsWithoutFlag() {
  // The SHA of a script as its author knows it, and as the engine knows it. Only scripts with the flag are in here.
  const engineSha = new Map<string, string>();
  const authorSha = new Map<string, string>();

  function cleaned(text: string): string {
    const clean = withoutFlag(text);
    if (clean !== text) {
      engineSha.set(sha1(text), sha1(clean));
      authorSha.set(sha1(clean), sha1(text));
    }
    return clean;
  }
  const toEngine = (sha: string) => engineSha.get(sha.toLowerCase()) ?? sha;

  return (name: string, command: Command): Prepared | undefined => {
    const [verb, first = "", ...rest] = command;
    const text = first.toString();
    const isLoad = name === "SCRIPT" && text.toUpperCase() === "LOAD" && rest.length === 1;
    if (name === "EVAL" || name === "EVAL_RO") {
      return first === "" ? undefined : renamed([verb, cleaned(text), ...rest]);
    }
    if (name === "EVALSHA" || name === "EVALSHA_RO") return renamed([verb, toEngine(text), ...rest]);
    if (isLoad) return renamed([verb, first, cleaned(String(rest[0]))]);
    if (name === "SCRIPT" && text.toUpperCase() === "EXISTS") {
      return plain([verb, first, ...rest.map((sha) => toEngine(sha.toString()))]);
    }
    return undefined;
  };

  /** Sends the command; where the reply is or the error names the engine's SHA, the author's takes its place. */
  function renamed(send: Command): Prepared {
    return {
      send,
      answer(reply) {
        if ("error" in reply) {
          return { error: reply.error.replace(/\b[0-9a-f]{40}\b/, (sha) => authorSha.get(sha) ?? sha) };
        }
        return { result: withAuthorSha(send, reply.result) };
      },
    };
  }

  function withAuthorSha([name]: Command, result: RedisValue): RedisValue {
    if (name.toUpperCase() !== "SCRIPT" || !Buffer.isBuffer(result)) return result;
    const sha = authorSha.get(result.toString());
    return sha === undefined ? result : Buffer.from(sha);
  }
}

function withoutFlag(text: string): string {
  return text.replace(/^#!lua[ \t]+flags=([^\s]*)[ \t]*(?=\r?\n|$)/, (line, list: string) => {
    const flags = list.split(",");
    const others = flags.filter((flag) => flag !== "allow-key-locking");
    if (others.length === flags.length) return line;
    return others.length === 0 ? "" : `#!lua flags=${others.join(",")}`;
  });
}

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}
