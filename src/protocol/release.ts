import type { Attempt } from "./attempt.ts";
import { lua } from "./lua.ts";
import { unexpected } from "./protocol.ts";
import { isState } from "./state.ts";
import { runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  ARGV[1] our token
// Gives the lock to the first live waiter. Replies 1 when it was ours, else 0.
export const releaseLua = lua`
local there = call('GET', lock) or ''
if readPlain(there) == ARGV[1] then return call('DEL', lock) end
if not readState(there) or holder() ~= ARGV[1] then return 0 end
holders = ''
pass()
write()
tell()
return 1`;

/**
 * Deletes the lock, or hands it over, if it is still ours; never touches another's. True if it was ours, or if an
 * earlier request, whose reply was lost, may have found that.
 * @param value what is at the lock, as far as we know
 */
export async function release(attempt: Attempt, value = attempt.value): Promise<boolean> {
  const { redisKey, token } = attempt;
  // If nobody waits, one command. It fails if the first who waits has made a state of the value.
  const compared = isState(value)
    ? undefined
    : await tryCommand(attempt, "compare", ["DELEX", redisKey, "IFEQ", value]);
  if (compared?.reply === 1) return true;
  const { reply, repeated } = await runScript(attempt, "release", [redisKey], [token]);
  if (reply !== 0 && reply !== 1) throw unexpected(reply);
  // Any other reply than 0 the client made up: the command may have been executed.
  return reply === 1 || repeated || (compared !== undefined && (compared.repeated || compared.reply !== 0));
}
