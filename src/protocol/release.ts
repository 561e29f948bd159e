import type { Attempt } from "./attempt.ts";
import { lua } from "./lua.ts";
import { keysOf, unexpected } from "./protocol.ts";
import { isState } from "./state.ts";
import { type Asking, runScript, tryCommand } from "./support.ts";

// Of one lock or several. KEYS: the locks; or, of those that may wait, three for each: the lock, the queue behind another
// library's lock, our tombstone.
// ARGV[1] for how many ms our tombstones stay, 0 for none  and for each lock our token
// Leaves the queues, and hands the locks that are ours on. Replies how many were ours.
export const releaseLua = lua`
local locks, values, ours = #ARGV - 2, read(), 0
for i = 1, locks do
  local first, token = 1 + (i - 1) * #KEYS / locks, ARGV[i + 1]
  local there = values[first]
  local plain = (there or ''):match('^s2:([^: \n]+):')
  if plain then
    -- It wants no more rights than GET and DEL.
    if plain == token then ours = ours + call('DEL', KEYS[first]) end
  else
    local lock = there and open(KEYS[first], there)
    local state = lock or open(KEYS[first + 1], #KEYS > locks and values[first + 1])
    local held = state and takeOut(state, 'h', token)
    if held then ours = ours + 1 end
    if state and takeOut(state, 'w', token) or held then
      if lock then pass(state) end
      store(state)
    end
  end
  if ARGV[1] ~= '0' then call('SET', KEYS[first + 2], 1, 'PX', ARGV[1]) end
end
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
