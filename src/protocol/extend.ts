import type { Attempt } from "./attempt.ts";
import { lua } from "./lua.ts";
import { type Extension, unexpected } from "./protocol.ts";
import { isState, stateMark } from "./state.ts";
import { ifFull, runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  ARGV[1] our token  ARGV[2] the lease in ms  ARGV[3] the token from then on
// ARGV[4] 1 where another process may rely on a longer lease, which stays then
// Replies our plain value, 's2!' where it is a state, and 0 when the lock is not ours. Asked again, does it again.
export const extendLua = lua`
open(call('GET', lock) or '')
local token, leaseEnd, since, owner = holder()
if token ~= ARGV[1] and token ~= ARGV[3] then return 0 end
local longer = ARGV[4] == '1' and leaseEnd or 0
setHolder(ARGV[3], math.max(longer, now() + ARGV[2]), since, owner)
return write()`;

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
