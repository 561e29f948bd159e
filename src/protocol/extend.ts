import type { Answer } from "../redis/connection.ts";
import { type Claim, unexpected } from "./claim.ts";
import { lua } from "./lua.ts";
import { isState } from "./state.ts";
import { ifFull, runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  ARGV[1] our token  ARGV[2] the lease in ms  ARGV[3] the token from then on
// ARGV[4] 1 where another process may rely on a longer lease, which stays then
// Replies our plain value, 's2!' where it is a state, and 0 when the lock is not ours. Asked again, does it again.
export const extendLua = lua`
local there = call('GET', lock) or ''
local token, since, owner = readPlain(there)
local leaseEnd, longer
if readState(there) then token, leaseEnd, since, owner = holder() end
if token ~= ARGV[1] and token ~= ARGV[3] then return 0 end
if ARGV[4] == '1' then longer = leaseEnd or now() + call('PTTL', lock) end
setHolder(ARGV[3], math.max(longer or 0, now() + ARGV[2]), since, owner)
return write()`;

/**
 * Starts the lease anew, `ttl` ms long, if the lock is still the claim's.
 * Resolves to the answer that says so: the lease is counted from when its request was sent. Undefined when the
 * lock is not the claim's any more.
 */
export function extend(claim: Claim, ttl: number): Promise<Answer | undefined> {
  return hold(claim, ttl, claim.token, claim.shared);
}

/** Gives the lock up, but keeps it taken for `ms` more, under a token that is no holder's. */
export async function keep(claim: Claim, ms: number): Promise<boolean> {
  return (await hold(claim, ms, `${claim.token}.kept`, false)) !== undefined;
}

async function hold(claim: Claim, ttl: number, token: string, shared: boolean): Promise<Answer | undefined> {
  const { key, plain } = claim;
  const value = plain.replace(/^s2:[^:]*:\d+/, `s2:${token}:${ttl}`);
  const command = ["SET", key, value, "IFEQ", plain, "PX", ttl];
  const compared =
    isState(plain) || shared ? undefined : await tryCommand(claim, "compare", command).catch(ifFull);
  if (compared?.reply === "OK") {
    claim.plain = value;
    return compared;
  }
  // Others may wait, and have made a state of the value; or the reply is one that a lost request or the client made.
  const answer = await runScript(claim, "extend", [key], [claim.token, ttl, token, Number(shared)]);
  answer.repeated ||= compared?.repeated ?? false;
  const { reply } = answer;
  if (reply === 0) return undefined;
  if (!(reply === "s2!" || `${reply}`.startsWith(`s2:${token}:`))) throw unexpected(reply);
  claim.plain = `${reply}`;
  return answer;
}
