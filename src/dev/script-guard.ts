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

/**
 * `guarded("call")` is a `redis.call` that refuses what requests may not run. MULTI stands in for it: Redis refuses that
 * to every script, in its own words. Globals are looked up when it is called: while a library is loaded there are none.
 */
const GUARDED = `local refused={${refused}} local function guarded(run) return function(name,...) \
if type(name)=="string" and refused[string.upper(name)] then return (redis[run]("MULTI")) end \
return (redis[run](name,...)) end end`;
const CALLS = `call=guarded("call"),pcall=guarded("pcall")`;

/** What stands in for `redis` in a script: all else is as it was. */
const IN_SCRIPT = `setmetatable({${CALLS}},{__index=redis,__newindex=redis,__metatable=false})`;

/** The same in a library, where some of `redis` is there while it is loaded, and the rest when its functions run. */
const IN_LIBRARY = `{${[
  CALLS,
  ...["register_function", "log", "REDIS_VERSION", "REDIS_VERSION_NUM"].map(
    (name) => `${name}=redis.${name}`,
  ),
  ...["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].map((name) => `${name}=redis.${name}`),
  "REPL_NONE=0,REPL_AOF=1,REPL_SLAVE=2,REPL_REPLICA=2,REPL_ALL=3",
  ...["error_reply", "status_reply", "sha1hex", "setresp", "set_repl", "acl_check_cmd"].map(
    (name) => `${name}=function(...) return redis.${name}(...) end`,
  ),
].join(",")}}`;

const guard = (redis: string) =>
  `local redis=(function() ${GUARDED} return ${redis} end)() \
local server,_G,getfenv,setfenv,load,loadstring=redis; `;
const GUARDS = { script: guard(IN_SCRIPT), library: guard(IN_LIBRARY) };

/**
 * The script as it may run: as it is if all that it calls is named in it and allowed; otherwise with a guard on its
 * first line, after which `redis` and `server` refuse, and no other way to the functions behind is left. An error that
 * Redis raises in a guarded script has the guard's line, and `load`, `loadstring` and `_G` are nil in it.
 */
export function guardScript(text: string, kind: keyof typeof GUARDS): string {
  if (isPlain(text)) return text;
  const [shebang = ""] = /^#![^\n]*\n?/.exec(text) ?? [];
  return shebang + GUARDS[kind] + text.slice(shebang.length);
}

/** The script or library as its author wrote it. */
export function withoutGuard(text: string): string {
  return text.replace(GUARDS.script, "").replace(GUARDS.library, "");
}

function isPlain(text: string): boolean {
  const code = text.replace(COMMENT_LINE, "");
  const plain = [...code.matchAll(PLAIN)];
  const named = plain.map(({ groups }) => (groups?.double ?? groups?.single ?? "").toUpperCase());
  return (
    !named.some((name) => unsupportedNames.has(name)) && plain.length === (code.match(WAY_IN) ?? []).length
  );
}
