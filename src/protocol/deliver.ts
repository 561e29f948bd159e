import type { Attempt, Claim } from "./attempt.ts";
import { lua } from "./lua.ts";
import { checkReplicas, lockKeys, resultKey, unexpected } from "./protocol.ts";
import { ask, runScript } from "./support.ts";

/** The most characters of a result that travel in a message. */
const longestMessage = 4096;

// KEYS: the lock, what an operator has set for it, its result, and its fencing counter if the holder has a token
// ARGV[1] our token  ARGV[2] our mark, no secret  ARGV[3] for how many ms anybody gets the result  ARGV[4] the result
// ARGV[5] the holder's fencing token or 0
// Stores the result, tells all who wait for one, and lets go of the lock: if it is ours, and no later fencing token was
// drawn. Replies 1 if it was, 0 if not. Asked again, finds what it stored.
// The result stays at least for as long as one of those counts as alive who wait now: a message may be lost.
export const deliverLua = lua`
local token, mark, ms, values = ARGV[1], ARGV[2], tonumber(ARGV[3]), read()
local there = values[1] or ''
local ended = token .. '.ended'
local plain = there:match('^s2:([^: \n]+):')
plain = plain == token or plain == ended
local state = not plain and values[1] and open(KEYS[1], there, values[2])
local stale = KEYS[4] and tonumber(values[4] or 0) > tonumber(ARGV[5])
if stale or not plain and not (state and (takeOut(state, 'h', token) or takeOut(state, 'h', ended))) then
  local stored = values[3] or ''
  return stored:sub(1, #mark + 4) == 'r1:' .. mark .. ':' and 1 or 0
end
local told, life, last, ends = {}, ms, 0, 0
if state then
  state.w = state.w:gsub('\nw (%S+) f [^\n]*', function(waiter)
    told[#told + 1] = waiter
    return ''
  end)
  if #told > 0 then life = math.max(ms, state.alive - now()) end
  last = state.ticket
  if life > ms then ends = now() + ms end
end
local result = 'r1:' .. mark .. ':' .. last .. ':' .. ends .. ':' .. ARGV[4]
if life > 0 then call('SET', KEYS[3], result, 'PX', life) end
if state then
  pass(state)
  store(state)
else
  call('DEL', KEYS[1])
end
local message = #result > ${longestMessage} and '=' or '=' .. result
for _, waiter in ipairs(told) do redis.pcall('PUBLISH', 'sl:' .. waiter:sub(1, 18), message) end
return 1`;

/** A result as it is kept and told: `r1:<mark>:<last ticket>:<ends>:<text>`. */
const resultFormat = /^r1:[^:]*:(\d+):\d+:(.*)$/s;

/** The text of a result. Undefined for what is none. */
export function readResult(stored: unknown): string | undefined {
  return typeof stored === "string" ? resultFormat.exec(stored)?.[2] : undefined;
}

/**
 * The result, as it is kept, that came while we stood in the queue with this ticket. Undefined if there is none. It
 * costs one command, however long the queue is.
 */
export async function findResult(
  attempt: Attempt,
  { redisKey }: Claim,
  ticket: number,
): Promise<string | undefined> {
  const { reply } = await ask(attempt, ["GET", resultKey(redisKey)], { taking: true, waiting: true });
  const [, last] = resultFormat.exec(`${reply}`) ?? [];
  return ticket <= Number(last) ? `${reply}` : undefined;
}

/**
 * Stores a result and lets go of the lock in one step, if it is still ours; else it does nothing. True if it was, or if
 * an earlier request, whose reply was lost, may have found that: what it stored may be over by now.
 * @param result its text, printable ASCII, is told to all who wait for one, and to whoever asks within `keepFor` ms
 */
export async function deliver(
  attempt: Attempt,
  claim: Claim,
  result: { text: string; keepFor: number; fence: number | undefined },
): Promise<boolean> {
  const { redisKey, token } = claim;
  const { text, keepFor, fence } = result;
  const fences = fence === undefined ? [] : [`${redisKey}:fence`];
  const args = [token, attempt.id, keepFor, text, fence ?? 0];
  const keys = [...lockKeys(claim), resultKey(redisKey), ...fences];
  const sinceFirst = attempt.connection.runtime.sinceNow();
  // What is kept for nobody needs no replica.
  const asking = { confirmed: keepFor > 0 };
  const { reply, confirmed, repeated } = await runScript(attempt, "deliver", keys, args, asking);
  if (reply !== 0 && reply !== 1) throw unexpected(reply);
  if (reply) checkReplicas(attempt, confirmed);
  // What was stored left no trace once `keepFor` is over. Clocks may differ by 1 %.
  return reply === 1 || (repeated && sinceFirst() >= keepFor * 0.98);
}
