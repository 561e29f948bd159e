import { deliverLua } from "./deliver.ts";
import { extendLua } from "./extend.ts";
import { joinLua } from "./join.ts";
import { lua } from "./lua.ts";
import { preludeLua } from "./prelude.ts";
import { releaseLua } from "./release.ts";

/**
 * The script of the protocol. Its last argument is the operation; keys, other arguments and reply are the operation's.
 * One script for all: what they share is in the bundle once, and a server compiles it once. A function, since the
 * operations' own modules run it.
 */
export const protocolScript = () => lua`${preludeLua}
local operations = {}
function operations.join()${joinLua}
end
function operations.release()${releaseLua}
end
function operations.extend()${extendLua}
end
function operations.deliver()${deliverLua}
end
return operations[ARGV[#ARGV]]()`;

export type Operation = "join" | "release" | "extend" | "deliver";
