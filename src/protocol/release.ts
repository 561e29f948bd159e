import { type Claim, unexpected } from "./claim.ts";
import { dequeue } from "./dequeue.ts";
import { lua } from "./lua.ts";
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
 * Deletes the lock, or hands it over, if it is still the claim's; never touches another's. True when it was the
 * claim's, or when an earlier request, whose reply was lost, may have found that.
 * @param late requests of the claim may be on their way: for a while they are to find a tombstone and do nothing
 * @param leaving it may also stand in the queue
 */
export async function release(
  claim: Claim,
  late = claim.asker.stragglers.length > 0,
  leaving = late,
): Promise<boolean> {
  if (leaving && claim.standing) return dequeue(claim, late);
  const { key, token, plain } = claim;
  // Where nobody waits, one command. It fails where the first who waits has made a state of the value.
  const compared = isState(plain)
    ? undefined
    : await tryCommand(claim, "compare", ["DELEX", key, "IFEQ", plain]);
  if (compared?.reply === 1) return true;
  const { reply, repeated } = await runScript(claim, "release", [key], [token]);
  if (reply !== 0 && reply !== 1) throw unexpected(reply);
  // Any other reply than 0 the client made up: the command may have been executed.
  return reply === 1 || repeated || (compared !== undefined && (compared.repeated || compared.reply !== 0));
}
