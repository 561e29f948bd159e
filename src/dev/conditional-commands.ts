import type { Command } from "./command.ts";
import { XXH3_LUA } from "./xxh3-lua.ts";

/** The first line of a script of ours: what it calls is billed as the one command that it stands for. */
export const EXTENSION_MARK = "-- An extension of the dev server, not a command of its user.";

// What is made up here answers as Redis 8.6.3 was seen to answer, in every order of its checks.

/** What all of them need. `run` is `redis.call` or what stands in for it: errors come back as values. */
const CONDITION_LUA = `
local conditions = {IFEQ = true, IFNE = true, IFDEQ = true, IFDNE = true}
local function holds(condition, operand, held)
  if condition == "IFEQ" then return held == operand end
  if condition == "IFNE" then return held ~= operand end
  if not held then return condition == "IFDNE" end
  if #operand ~= 16 then return nil, {err = "ERR must be exactly 16 hexadecimal characters"} end
  return (xxh3(held) == string.lower(operand)) == (condition == "IFDEQ")
end
local function delex(key, condition, operand, ...)
  if not key or (condition and not operand) or select("#", ...) > 0 then
    return {err = "ERR wrong number of arguments for 'delex' command"}
  end
  if not condition then return redis.pcall("DEL", key) end
  local held = redis.pcall("GET", key)
  if not held then return 0 end
  if type(held) == "table" then
    if not string.find(held.err, "WRONGTYPE", 1, true) then return held end
    return {err = "ERR Key should be of string type if conditions are specified"}
  end
  condition = string.upper(condition)
  if not conditions[condition] then
    return {err = "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"}
  end
  local yes, failure = holds(condition, tostring(operand), held)
  if failure then return failure end
  return yes and redis.pcall("DEL", key) or 0
end
local function digest(key, ...)
  if not key or select("#", ...) > 0 then return {err = "ERR wrong number of arguments for 'digest' command"} end
  local held = redis.pcall("GET", key)
  return type(held) == "string" and xxh3(held) or held
end
local expiries = {EX = true, PX = true, EXAT = true, PXAT = true}
local function set(key, value, ...)
  local options, rest, index = {...}, {}, 1
  local condition, operand, existence, expiry, ends, get
  local syntax = {err = "ERR syntax error"}
  while index <= #options do
    local option = string.upper(tostring(options[index]))
    local argument = options[index + 1]
    if conditions[option] then
      if (condition and condition ~= option) or existence or argument == nil then return syntax end
      condition, operand, index = option, tostring(argument), index + 1
    elseif option == "NX" or option == "XX" then
      if existence and existence ~= option then return syntax end
      existence = option
    elseif option == "GET" then
      if not get then table.insert(rest, option) end
      get = true
    elseif option == "KEEPTTL" or expiries[option] then
      if (expiry and expiry ~= option) or (expiries[option] and argument == nil) then return syntax end
      expiry = option
      if expiries[option] then ends, index = argument, index + 1 end
    else
      return syntax
    end
    index = index + 1
  end
  if expiry then table.insert(rest, expiry) end
  if ends then table.insert(rest, ends) end
  local exists = redis.pcall("EXISTS", key) == 1
  local checked = redis.pcall("SET", key, value, exists and "NX" or "XX", unpack(rest))
  if type(checked) == "table" and checked.err then return checked end
  local out = (existence == "NX" and exists) or (existence == "XX" and not exists)
  local held = (get or not out) and redis.pcall("GET", key)
  if type(held) == "table" then return held end
  local yes, failure = not out, nil
  if yes then yes, failure = holds(condition, operand, held) end
  if failure and not get then return failure end
  if not yes then return get and held or false end
  return redis.pcall("SET", key, value, unpack(rest))
end
local function conditional(name, ...)
  if name == "DELEX" then return delex end
  if name == "DIGEST" then return digest end
  if name ~= "SET" then return nil end
  for index = 3, select("#", ...) do
    if conditions[string.upper(tostring((select(index, ...))))] then return set end
  end
end`;

/** Defines `conditional(name, …)`: the function that stands in for a command, or nil. */
export const CONDITIONAL_LUA = `${XXH3_LUA}${CONDITION_LUA}`;

const request = (call: string, lua: string) => `${EXTENSION_MARK}
${lua}
return ${call}(KEYS[1], unpack(ARGV))`;
// The hash is 5 kB of text, and few need it.
const withHash = (call: string) => request(call, CONDITIONAL_LUA);
const withoutHash = (call: string) => request(call, CONDITION_LUA);

/** The script for a command on a condition; undefined for every other command. */
export function conditionalCommand([name, key, ...args]: Command): Command | { error: string } | undefined {
  const verb = name.toUpperCase();
  if (verb === "DELEX") return key === undefined ? wrongNumber("delex") : scriptFor("delex", key, args);
  if (verb === "DIGEST") return key === undefined ? wrongNumber("digest") : scriptFor("digest", key, args);
  const conditional = verb === "SET" && args.slice(1).some((arg) => CONDITION.test(arg.toString()));
  return conditional && key !== undefined ? scriptFor("set", key, args) : undefined;
}

const CONDITION = /^ifd?(eq|ne)$/i;
const HASHED = /^ifd(eq|ne)$/i;

/**
 * The script for a command that Redis 8.6.3 answers twice: `SET … IFDEQ` (or IFDNE) with GET, where the digest has not
 * 16 characters. All later replies on the connection would go to the wrong commands. Undefined for every other command.
 */
export function answeredTwice(command: Command): ReturnType<typeof conditionalCommand> {
  const [name, , , ...options] = command;
  const words = options.map(String);
  const twice =
    /^set$/i.test(name) &&
    words.some((word) => /^get$/i.test(word)) &&
    options.some((_, i) => HASHED.test(words[i] ?? "") && Buffer.byteLength(options[i + 1] ?? "") !== 16);
  return twice ? conditionalCommand(command) : undefined;
}

function scriptFor(call: "delex" | "digest" | "set", key: Command[number], args: Command[number][]): Command {
  const hashed = call === "digest" || args.some((arg) => HASHED.test(arg.toString()));
  return ["EVAL", (hashed ? withHash : withoutHash)(call), "1", key, ...args];
}

function wrongNumber(name: string): { error: string } {
  return { error: `ERR wrong number of arguments for '${name}' command` };
}
