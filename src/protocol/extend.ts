import type { Answer } from "../redis/connection.ts";
import { type Claim, isOurs, unexpected } from "./claim.ts";
import { ifFull, runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  ARGV[1] our value  ARGV[2] the value to put there  ARGV[3] its lease in ms
// ARGV[4] 1 where another process may rely on a longer lease, which stays then
// Replies what was there when it was put there, now or before, and 0 when the lock is not ours.
// A Redis that is full refuses SET and takes PEXPIRE.
export const extendScript = `local call=redis.call
local held=call('GET',KEYS[1]) or ''
local rest,new=held:sub(4),ARGV[2]:sub(4)
if rest~=ARGV[1]:sub(4) and rest~=new then return 0 end
if ARGV[4]=='1' and call('PTTL',KEYS[1])>tonumber(ARGV[3]) then return held end
if rest==new or redis.pcall('SET',KEYS[1],held:sub(1,3)..new,'PX',ARGV[3]).err then
call('PEXPIRE',KEYS[1],ARGV[3])
end
return held`;

/**
 * Starts the lease anew, `ttl` ms long, if the lock is still the claim's; `value` may replace the claim's.
 * Resolves to the answer that says so: the lease is counted from when its request was sent. Undefined when the
 * lock is not the claim's any more.
 */
export async function extend(claim: Claim, ttl: number, value = claim.value): Promise<Answer | undefined> {
  const { key, contended } = claim;
  // What is kept for a window ends with that.
  const shared = claim.shared && value === claim.value;
  const command = ["SET", key, value, "IFEQ", claim.value, "PX", ttl];
  const plain = contended || shared ? undefined : await tryCommand(claim, "compare", command).catch(ifFull);
  if (plain?.reply === "OK") return plain;
  // Others may wait, and have marked the value; or the reply is one that a lost request or the client made.
  const answer = await runScript(claim, extendScript, [key], [claim.value, value, ttl, Number(shared)]);
  answer.repeated ||= plain?.repeated ?? false;
  if (answer.reply === 0) return undefined;
  if (!isOurs(claim, answer.reply) && !isOurs(claim, answer.reply, value)) throw unexpected(answer.reply);
  return answer;
}
