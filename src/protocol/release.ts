import type { Attempt, Claim, Part } from "./attempt.ts";
import { lua } from "./lua.ts";
import { keysOf, lockKeys, unexpected } from "./protocol.ts";
import { isState } from "./state.ts";
import { type Asking, askAll, runScript, tryCommand } from "./support.ts";

// Of one lock or several. Two KEYS for each: the lock, what an operator has set for it; of those that may wait four: also
// the queue behind another library's lock, our tombstone.
// ARGV[1] for how many ms our tombstones stay, 0 for none  and for each lock our token
// Leaves the queues, and hands the locks that are ours on. Replies how many were ours.
export const releaseLua = lua`
local locks, values, ours = #ARGV - 2, read(), 0
for i = 1, locks do
  local first, token = 1 + (i - 1) * #KEYS / locks, ARGV[i + 1]
  local there = values[first]
  local plain = (there or ''):match('^s2:([^: \n]+):')
  if plain == token or plain == token .. '.ended' then
    -- It wants no more rights than GET and DEL.
    ours = ours + call('DEL', KEYS[first])
  else
    -- Beside another's plain value we may stand in the queue behind another library's lock that was there before.
    local lock = not plain and there and open(KEYS[first], there, values[first + 1])
    local state = lock or open(KEYS[first + 2], #KEYS > 2 * locks and values[first + 2])
    local held = state and (takeOut(state, 'h', token) or takeOut(state, 'h', token .. '.ended'))
    if held then ours = ours + 1 end
    if state and takeOut(state, 'w', token) or held then
      if lock then pass(state) end
      store(state)
    end
  end
  if ARGV[1] ~= '0' then call('SET', KEYS[first + 3], 1, 'PX', ARGV[1]) end
end
return ours`;

/**
 * Deletes the locks, or hands them over, if they are still ours; never touches another's. True if all were ours, or if
 * an earlier request, whose reply was lost, may have found that.
 */
export async function release(attempt: Attempt, parts: readonly Part[]): Promise<boolean> {
  const released = await askAll(attempt, parts, (some) => releaseTogether(attempt, some));
  return released.every(Boolean);
}

async function releaseTogether(attempt: Attempt, parts: readonly Part[]): Promise<boolean> {
  const [{ claim, value }, ...others] = parts as [Part, ...Part[]];
  // If nobody waits, one command. It fails if the first who waits has made a state of the value.
  const compared =
    others.length || isState(value)
      ? undefined
      : await tryCommand(attempt, "compare", ["DELEX", claim.redisKey, "IFEQ", value]);
  if (compared?.reply === 1) return true;
  const claims = parts.map((part) => part.claim);
  const keys = claims.flatMap(lockKeys);
  const ours = await runRelease(attempt, claims, keys, 0);
  // Any other reply than 0 the client made up: the command may have been executed.
  return ours || (compared !== undefined && (compared.repeated || compared.reply !== 0));
}

/**
 * Leaves the queues, and releases what was handed over meanwhile. True if all was ours.
 * @param tombstoneFor for how many ms requests of ours that are on their way are to find a tombstone and do nothing
 */
export async function dequeue(
  attempt: Attempt,
  claims: readonly Claim[],
  tombstoneFor: number,
): Promise<boolean> {
  const left = await askAll(attempt, claims, (some) =>
    runRelease(attempt, some, some.flatMap(keysOf), tombstoneFor, { waiting: true }),
  );
  return left.every(Boolean);
}

async function runRelease(
  attempt: Attempt,
  claims: readonly Claim[],
  keys: string[],
  tombstoneFor: number,
  asking?: Asking,
): Promise<boolean> {
  const args = [tombstoneFor, ...claims.map(({ token }) => token)];
  const { reply, repeated } = await runScript(attempt, "release", keys, args, asking);
  if (!Number.isInteger(reply) || (reply as number) < 0 || (reply as number) > claims.length)
    throw unexpected(reply);
  return reply === claims.length || repeated;
}
