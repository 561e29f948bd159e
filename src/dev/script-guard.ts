import type { Command } from "./command.ts";
import { CONDITIONAL_LUA, EXTENSION_MARK } from "./conditional-commands.ts";
import type { Rewrite } from "./scripts.ts";
import { unsupportedNames } from "./unsupported-commands.ts";

// What a request may not run, a script may not run either. The embedded engine is told so (embedded.ts). A Redis of the
// user's own cannot be: an ACL user for it would change that server, and stay there if this process is killed. So a
// script that might call such a command is given another `redis.call`.

/** Any way to the server's commands needs one of these words in the text of a script. Valkey has `server` too. */
const WAY_IN = /redis|server|_G|getfenv|setfenv|\bload(?:string)?\b/g;
/** A command named on the spot, or a function that runs none. */
const PLAIN =
  /\bredis\.(?:p?call\(\s*(?:"(?<double>[A-Za-z]+)"|'(?<single>[A-Za-z]+)')\s*[,)]|(?:sha1hex|error_reply|status_reply|log|LOG_[A-Z]+|setresp|register_function)\b)/g;
/** A line that is all comment. It holds nothing by which a string that began above could end on it. */
const COMMENT_LINE = /^[ \t]*--[^\]["'\r\n]*$/gm;

const refused = [...unsupportedNames].map((name) => `["${name}"]=1`).join(",");

/** A name that the text has to say for a script to be able to call a command on a condition. */
const CONDITIONAL = /delex|digest|ifd?(?:eq|ne)/i;
/** The same as what a script is run with: `redis.call(unpack(ARGV))`. */
const CONDITIONAL_WORD = /^(?:delex|digest|ifd?(?:eq|ne))$/i;

/** Lua on one line: a script's lines keep their numbers. */
const onOneLine = (lua: string) => lua.trim().replace(/\s*\n\s*/g, " ");

/** Shows script-watch.ts where a stand-in begins and ends, so that what it calls is billed as one command. */
const mark = (name: string) => `redis.pcall("ECHO","${EXTENSION_MARK} "${name})`;

/**
 * `guarded("call")` is a `redis.call` that refuses what requests may not run. MULTI stands in for it: Redis refuses that
 * to every script, in its own words. Globals are looked up when it is called: while a library is loaded there are none.
 */
function guardedCall({ conditions, embedded }: Pick<GuardOptions, "conditions" | "embedded">): string {
  return [
    `local refused={${embedded ? "" : refused}}`,
    conditions ? onOneLine(CONDITIONAL_LUA) : "local function conditional() end",
    "local function guarded(run) return function(name,...)",
    'if type(name)=="string" then local upper=string.upper(name)',
    'if refused[upper] then return (redis[run]("MULTI")) end',
    "local standin=conditional(upper,...)",
    `if standin then ${mark("..upper")} local reply=standin(...) ${mark("")}`,
    `if run=="call" and type(reply)=="table" and reply.err then ${embedded ? "error(reply.err,0)" : "error(reply)"} end return reply end end`,
    "return (redis[run](name,...)) end end",
  ].join(" ");
}
const CALLS = `call=guarded("call"),pcall=guarded("pcall")`;

/** What stands in for `redis` in a script: all else is as it was. */
const IN_SCRIPT = `setmetatable({${CALLS}},{__index=redis,__newindex=redis,__metatable=false})`;

/** Behind a function's name: the same function, with the flag `no-writes`. FCALL_RO runs it (functions.ts). */
export const TWIN_SUFFIX = "__no_writes";
/** Behind the name of a function that has the flag `allow-key-locking`, which Redis refuses: a mark for FUNCTION LIST. */
export const LOCKING_SUFFIX = "__key_locking";

/**
 * A `redis.register_function` that registers each function's twin too, and takes Upstash's own flag. While a library is
 * loaded, Lua's own functions are missing.
 */
const REGISTER = onOneLine(`
function(...)
  local given, callback = ...
  if callback ~= nil then given = {function_name = given, callback = callback} end
  if given == nil or given.function_name == nil then return redis.register_function(...) end
  local own, flags, twin, locking = given.flags or {}, {}, {"no-writes"}, false
  for index = 1, #own do
    local flag = own[index]
    if flag == "allow-key-locking" then locking = true else flags[#flags + 1] = flag end
    if flag ~= "allow-key-locking" and flag ~= "no-writes" then twin[#twin + 1] = flag end
  end
  if locking then given.flags = flags end
  if locking or callback == nil then redis.register_function(given) else redis.register_function(...) end
  local function add(suffix, with)
    redis.register_function({
      function_name = given.function_name .. suffix, callback = given.callback, flags = with
    })
  end
  add("${TWIN_SUFFIX}", twin)
  if locking then add("${LOCKING_SUFFIX}", flags) given.flags = own end
end`);

/** The same in a library, where some of `redis` is there while it is loaded, and the rest when its functions run. */
const inLibrary = (register: string) =>
  `{${[
    CALLS,
    `register_function=${register}`,
    ...["log", "REDIS_VERSION", "REDIS_VERSION_NUM"].map((name) => `${name}=redis.${name}`),
    ...["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].map((name) => `${name}=redis.${name}`),
    "REPL_NONE=0,REPL_AOF=1,REPL_SLAVE=2,REPL_REPLICA=2,REPL_ALL=3",
    ...["error_reply", "status_reply", "sha1hex", "setresp", "set_repl", "acl_check_cmd"].map(
      (name) => `${name}=function(...) return redis.${name}(...) end`,
    ),
  ].join(",")}}`;

/** Which scripts are given another `redis`, and why. */
export interface GuardOptions {
  /** The embedded engine itself refuses in scripts what requests may not run, and raises errors as texts. */
  embedded: boolean;
  /** Makes up for DELEX, DIGEST and `SET` on a condition in scripts that name them. */
  conditions: boolean;
  /** Registers each function's twin, and takes the flag `allow-key-locking` (functions.ts). */
  twins: boolean;
}

/**
 * The guard of scripts and libraries for one engine. A guarded text has the guard on its first line, after which `redis`
 * and `server` refuse, and no other way to the functions behind is left. An error that Redis raises in a guarded script
 * has the guard's line, and `load`, `loadstring` and `_G` are nil in it.
 */
export function createGuard({ embedded, conditions, twins }: GuardOptions): Rewrite {
  const refuse = !embedded;
  const prelude = (redis: string, conditional: boolean) =>
    `local redis=(function() ${guardedCall({ embedded, conditions: conditional })} return ${redis} end)() ` +
    `${refuse ? "local server,_G,getfenv,setfenv,load,loadstring=redis" : "local server=redis"}; `;
  const preludes = [false, true].map((conditional) => ({
    script: prelude(IN_SCRIPT, conditional),
    library: prelude(inLibrary(twins ? REGISTER : "redis.register_function"), conditional),
  }));
  const wanted = (text: string, args: Command[number][]) =>
    conditions && (CONDITIONAL.test(text) || args.some((arg) => CONDITIONAL_WORD.test(arg.toString())));

  function guarded(text: string, kind: "script" | "library", conditional: boolean): string {
    const [shebang = ""] = /^#![^\n]*\n?/.exec(text) ?? [];
    const { [kind]: added } = preludes[Number(conditional)] as (typeof preludes)[number];
    return shebang + added + text.slice(shebang.length);
  }

  return {
    script(text, args) {
      const conditional = wanted(text, args);
      return conditional || (refuse && !isPlain(text)) ? guarded(text, "script", conditional) : text;
    },
    // Every library of a real Redis: its functions need their twins.
    library(text) {
      const conditional = wanted(text, []);
      return refuse || conditional ? guarded(text, "library", conditional) : text;
    },
    undo: (text) =>
      preludes.reduce((whole, { script, library }) => whole.replace(script, "").replace(library, ""), text),
  };
}

function isPlain(text: string): boolean {
  const code = text.replace(COMMENT_LINE, "");
  const plain = [...code.matchAll(PLAIN)];
  const named = plain.map(({ groups }) => (groups?.double ?? groups?.single ?? "").toUpperCase());
  return (
    !named.some((name) => unsupportedNames.has(name)) && plain.length === (code.match(WAY_IN) ?? []).length
  );
}
