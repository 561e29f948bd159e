import type { Attempt } from "./attempt.ts";
import { lua } from "./lua.ts";
import { type Extension, unexpected } from "./protocol.ts";
import { isState, stateMark } from "./state.ts";
import { ifFull, runScript, tryCommand } from "./support.ts";

// KEYS: the locks
// ARGV[1] 1 where another process may rely on a longer lease, which stays then  and four for each lock: our token, the
// lease in ms, the token from then on, the mode from then on or ''
// Starts the leases anew, and lets in who fits beside us by now. Asked again, does it again.
// Replies for each lock our plain value, 's2!' where it is a state, and 0 when it is not ours.
export const extendLua = lua`
local values, reply = read(), {}
for i, key in ipairs(KEYS) do
  local token, ms, nextToken, nextMode = unpack(ARGV, 4 * i - 2, 4 * i + 1)
  local state = values[i] and open(key, values[i])
  local from, mode, weight, ends, since, ticket, owner
  if state then
    from, mode, weight, ends, since, ticket, owner = takeOut(state, 'h', token)
    if not from then from, mode, weight, ends, since, ticket, owner = takeOut(state, 'h', nextToken) end
  end
  reply[i] = 0
  if from then
    if nextMode ~= '' then mode = nextMode end
    local longer = ARGV[1] == '1' and ends or 0
    hold(state, nextToken, mode, weight, math.max(longer, now() + ms), since, owner)
    pass(state)
    reply[i] = store(state)
  end
end
return reply`;

/**
 * Starts the lease anew, `ttl` ms long, if the lock is still ours. Undefined if it is not.
 * @param value what is at the lock, as far as we know
 */
export function extend(attempt: Attempt, value: string, ttl: number): Promise<Extension | undefined> {
  return hold(attempt, value, { ttl, token: attempt.token, shared: attempt.shared });
}

/** Gives the lock up, but keeps it taken for `ms` more, under a token that is no holder's. False if it was not ours. */
export async function keep(attempt: Attempt, value: string, ms: number): Promise<boolean> {
  const kept = await hold(attempt, value, { ttl: ms, token: `${attempt.token}.kept`, shared: false });
  return kept !== undefined;
}

async function hold(
  attempt: Attempt,
  value: string,
  { ttl, token, shared }: { ttl: number; token: string; shared: boolean },
): Promise<Extension | undefined> {
  const { redisKey } = attempt;
  const next = value.replace(/^s2:[^:]*:\d+/, `s2:${token}:${ttl}`);
  const command = ["SET", redisKey, next, "IFEQ", value, "PX", ttl];
  const compared =
    isState(value) || shared ? undefined : await tryCommand(attempt, "compare", command).catch(ifFull);
  if (compared?.reply === "OK")
    return { value: next, since: compared.sinceSent, repeated: compared.repeated };
  // Others may wait, and have made a state of the value; or the reply is one that a lost request or the client made.
  const args = [attempt.token, ttl, token, Number(shared)];
  const { reply, sinceSent, repeated } = await runScript(attempt, "extend", [redisKey], args);
  if (reply === 0) return undefined;
  const there = `${reply}`;
  if (there !== stateMark && !there.startsWith(`s2:${token}:`)) throw unexpected(reply);
  return { value: there, since: sinceSent, repeated: repeated || (compared?.repeated ?? false) };
}
