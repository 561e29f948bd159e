import type { Attempt } from "./attempt.ts";
import { lua } from "./lua.ts";
import { keysOf, unexpected } from "./protocol.ts";
import { isState } from "./state.ts";
import { type Asking, runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  KEYS[2] the queue behind another library's lock  KEYS[3] our tombstone, if it is to stay
// ARGV[1] our token  ARGV[2] for how many ms our tombstone stays, 0 for none
// Leaves the queue, and gives the lock to the first live waiter if it is ours. Replies 1 when it was ours, else 0.
export const releaseLua = lua`
local there, beside
if KEYS[2] then
  there, beside = unpack(call('MGET', unpack(KEYS)))
else
  -- A plain value wants no more rights than GET and DEL.
  there = call('GET', lock)
  local token = (there or ''):match('^s2:([^: \n]+):')
  if token then return token == ARGV[1] and call('DEL', lock) or 0 end
end
local foreign = not (there and open(there))
if foreign and beside then
  open(beside)
  lock = KEYS[2]
end
local ours = holder() == ARGV[1] and 1 or 0
if ours == 1 then holders = '' end
if takeOut(ARGV[1]) or ours == 1 then
  if not foreign then pass() end
  write()
  tell()
end
if ARGV[2] ~= '0' then call('SET', KEYS[3], 1, 'PX', ARGV[2]) end
return ours`;

/**
 * Deletes the lock, or hands it over, if it is still ours; never touches another's. True if it was ours, or if an
 * earlier request, whose reply was lost, may have found that.
 * @param value what is at the lock, as far as we know
 */
export async function release(attempt: Attempt, value = attempt.value): Promise<boolean> {
  const { redisKey } = attempt;
  // If nobody waits, one command. It fails if the first who waits has made a state of the value.
  const compared = isState(value)
    ? undefined
    : await tryCommand(attempt, "compare", ["DELEX", redisKey, "IFEQ", value]);
  if (compared?.reply === 1) return true;
  const ours = await runRelease(attempt, [redisKey], 0);
  // Any other reply than 0 the client made up: the command may have been executed.
  return ours || (compared !== undefined && (compared.repeated || compared.reply !== 0));
}

/**
 * Leaves the queue, and releases the lock if it was handed over meanwhile. True if it was.
 * @param tombstoneFor for how many ms requests of ours that are on their way are to find a tombstone and do nothing
 */
export function dequeue(attempt: Attempt, tombstoneFor: number): Promise<boolean> {
  return runRelease(attempt, keysOf(attempt), tombstoneFor, { waiting: true });
}

async function runRelease(attempt: Attempt, keys: string[], tombstoneFor: number, asking?: Asking) {
  const { reply, repeated } = await runScript(
    attempt,
    "release",
    keys,
    [attempt.token, tombstoneFor],
    asking,
  );
  if (reply !== 0 && reply !== 1) throw unexpected(reply);
  return reply === 1 || repeated;
}
