import { createHash } from "node:crypto";
import fc from "fast-check";
import { unsupportedNames } from "../../src/dev/unsupported-commands.ts";

// What a request says, in bytes: one character, one byte (latin1), so that a counterexample can be read and sent alike.

/** One of the texts, which a bar parts. */
export const oneOf = (...texts: string[]) => fc.constantFrom(...texts.flatMap((text) => text.split(" | ")));
/** One of these, the n-th with the weight of the n-th number. */
export const mostly = <T>(weights: number[], ...arbitraries: fc.Arbitrary<T>[]) =>
  fc.oneof(...arbitraries.map((arbitrary, i) => ({ arbitrary, weight: weights[i] ?? 1 })));
const upTo = (max: number) => fc.integer({ min: 1, max });

const utf8 = (text: string) => Buffer.from(text).toString("latin1");
export const bytes = fc.uint8Array({ maxLength: 60 }).map((all) => Buffer.from(all).toString("latin1"));

const names = oneOf(
  "SET | get | DEL | INCR | FLUSHALL | MSET | EVAL | EVALSHA | SCRIPT | PUBLISH | HSET | LPUSH | XADD | XREAD | ZADD",
  "SCAN | KEYS | OBJECT | COPY | DELEX | ECHO | INFO | COMMAND | TIME | PING | SORT | RESTORE | BITFIELD | GEOADD | ",
  "SUBSCRIBE | BLPOP | WAIT | MULTI | EXEC | WATCH | AUTH | CLIENT | CONFIG | DEBUG | SHUTDOWN | MONITOR | SELECT",
  "QUIT | nonsense | __proto__",
);
const words = oneOf(
  "k | known | v | 0 | 1 | -1 | 1e999 | NaN | NX | XX | EX | PX | GET | IFEQ | KEEPTTL | LOAD | FLUSH | BLOCK",
  "STREAMS | COUNT | * | $ | > | inf | 9223372036854775808 |  | constructor | \u0000 | é 🔒 | \ud800 | \r\n | ((",
  "return 1 | return {err='x'} | return {1,{2,{3}},'a',false} | return redis.call('SET','k','v')",
  "#!lua flags=allow-key-locking\nreturn KEYS[1]",
);
const argument = mostly<unknown>(
  [6, 2, 1, 1, 1],
  words,
  fc.string(),
  fc.oneof(fc.double(), fc.integer(), fc.boolean()),
  fc.constantFrom(null, {}, [], [["a"]], { toString: "x" }),
  upTo(300_000).map((length) => "x".repeat(length)),
);
const command = mostly<unknown[]>(
  [2, 1],
  fc.tuple(names, fc.array(argument, { maxLength: 5 })).map(([name, args]) => [name, ...args]),
  oneOf(
    "SET k v | GET k | DEL k known | INCR n | HSET h f v | LPUSH l 1 2 3 | LRANGE l 0 -1 | MGET k n | TIME",
    "WAIT 1 0 | SET known changed | FLUSHALL | PUBLISH a x | EVAL return(redis.call('GET',KEYS[1])) 1 k",
  ).map((text) => text.split(" ")),
);
/** So often that some 300 kB come of it at most. */
const repeated = fc
  .tuple(command, upTo(300))
  .map(([one, count]) => Array(Math.ceil(count / (1 + JSON.stringify(one).length / 1000))).fill(one));
const json = mostly<unknown>(
  [6, 3, 1, 1],
  command,
  fc.array(command, { maxLength: 8 }),
  repeated,
  fc.jsonValue(),
).map((value) => JSON.stringify(value));
export const body = mostly(
  [10, 2, 1, 1, 1, 1, 1, 1, 3, 3],
  json.map(utf8),
  // Broken off, as an upload may be.
  fc.tuple(json, fc.nat(200)).map(([text, length]) => utf8(text).slice(0, length)),
  json.map((text) => Buffer.from(`\ufeff${text}`, "utf16le").toString("latin1")),
  json.map((text) => utf8(`\ufeff${text}`)),
  upTo(100_000).map((depth) => "[".repeat(depth)),
  upTo(100_000).map((depth) => `${"[".repeat(depth)}${"]".repeat(depth)}`),
  upTo(300_000).map((length) => "\xff".repeat(length)),
  oneOf('{"__proto__":["GET"]} | ["SET","k",1e999] | ["GET","\\ud800"] | "PING" | null | {"reset":2}'),
  bytes,
  fc.constant(""),
);

const segment = mostly(
  [4, 1, 1],
  fc.oneof(names, words).map((word) => encodeURIComponent(word.toWellFormed())),
  oneOf("% | %2 | %zz | %ff | %00 | %2F | %2e%2e | .. | . | %u0041 | + | a;b"),
  fc.string({ unit: "grapheme-ascii", maxLength: 30 }).map((text) => text.replace(/[\s#?\\]/g, "")),
);
export const path = mostly(
  [4, 2, 5, 1, 1],
  oneOf("/ | /pipeline | /multi-exec"),
  oneOf("/set/k/v | /get/k | /set/known/changed | /flushall | /incr/n | /eval/return%201/0"),
  fc.array(segment, { maxLength: 6 }).map((all) => `/${all.join("/")}`),
  oneOf("/meter | /faults"),
  oneOf("/subscribe/a | /psubscribe/* | /subscribe | /subscribe/%ff | /subscribe/a/b"),
);
/** What is no path, or none that a client sends. */
export const oddPath = fc.oneof(
  oneOf(" | * | // | /// | /\\ | \\ | ? | # | /#a | a b | /a b | /get/\xff | /get/\x00 | /../../etc/passwd"),
  oneOf("http:// | https: | http://other.example/get/k | //other.example/get/k | other.example:443"),
  upTo(40_000).map((length) => `/get/${"x".repeat(length)}`),
  bytes,
);

/** What no script may call, spelt in any way, and a command that it may. */
const called = mostly(
  [5, 1],
  fc
    .tuple(fc.constantFrom(...unsupportedNames), fc.boolean())
    .map(([name, lower]) => (lower ? name.toLowerCase() : name)),
  oneOf("GET | set | TIME"),
);
/** Ways to write `redis.call`, after what they need. */
const callee = mostly(
  [3, 1, 1],
  oneOf("redis.call | redis.pcall | redis . call | redis['call'] | redis['pc' .. 'all'] | (redis).call"),
  oneOf(
    "_G.redis.call | _G['red' .. 'is'].call | server.call | getfenv(0).redis.call | rawget(_G, 'redis').call",
  ),
  oneOf("getmetatable(redis).__index.call | loadstring('return red' .. 'is.call')() | select(1, redis.call)"),
);
const before = oneOf(
  " | local c = redis.call; | local r = redis; | -- a comment\n | --[[ ]] | #!lua flags=allow-key-locking\n",
  "local s = [[\n-- ]]; | local s = '\\\n-- '; | local redis = redis; | -- redis.call('GET')\n",
);
const args = oneOf(
  "'0', '1' | KEYS[1] | 'NO', 'ONE' | unpack(ARGV, 2) | '127.0.0.1', '1', 'k', '0', '50' | 'GET', '*' | ",
);
const callIn = (name: string) =>
  oneOf(
    `'${name}' | "${name}" | ARGV[1] | '${name}' .. '' | '${name.slice(0, 2)}' .. '${name.slice(2)}' | unpack(ARGV)`,
  );
const around = oneOf(
  "return @ | local ok, e = pcall(function() return @ end) return tostring(e) | return {@, @}",
  "return coroutine.wrap(function() return @ end)() | for i = 1, 2 do local x = @ end return 1",
);
/** Scripts and functions that try to call it, and the commands that run them. */
export const scriptCommands = called
  .chain((name) => fc.tuple(fc.constant(name), before, callee, callIn(name), args, around))
  .chain(([name, head, run, what, rest, frame]) => {
    const call = `${run}(${[what, rest].filter((part) => part !== "").join(", ")})`;
    const script = `${head} ${frame.replaceAll("@", call)}`;
    const library = `#!lua name=fuzzed\nlocal redis = redis redis.register_function('fuzzed', function(KEYS, ARGV) ${script.replace(/^#!.*\n/, "")} end)`;
    const sha = createHash("sha1").update(script).digest("hex");
    const asked = ["1", "k", name, "0", "1"];
    return fc.constantFrom(
      [["EVAL", script, ...asked]],
      [["eval_ro", script, ...asked]],
      [
        ["SCRIPT", "LOAD", script],
        ["EVALSHA", sha, ...asked],
      ],
      [
        ["FUNCTION", "LOAD", "REPLACE", library],
        ["FCALL", "fuzzed", ...asked],
      ],
      [["MULTI"], ["EVAL", script, ...asked]],
    );
  });
