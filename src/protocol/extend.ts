import type { Answer } from "../redis/connection.ts";
import { type Claim, isOne } from "./claim.ts";
import { runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  ARGV[1] our value  ARGV[2] the value to put there  ARGV[3] its lease in ms
// Replies 1 when it was put there, now or before, and 0 when the lock is not ours.
const extendScript = `local call=redis.call
local held=call('GET',KEYS[1])
if held~=ARGV[1] and held~=ARGV[2] then return 0 end
call('SET',KEYS[1],ARGV[2],'PX',ARGV[3])
return 1`;

/**
 * Starts the lease anew, `ttl` ms long, if the lock is still the claim's; `value` may replace the claim's.
 * Resolves to the answer that says so: the lease is counted from when its request was sent. Undefined when the
 * lock is not the claim's any more.
 */
export async function extend(claim: Claim, ttl: number, value = claim.value): Promise<Answer | undefined> {
  const { key } = claim;
  const plain = await tryCommand(claim, "compare", ["SET", key, value, "IFEQ", claim.value, "PX", ttl]);
  if (plain?.reply === "OK") return plain;
  if (plain?.reply === null && !plain.repeated && claim.connection.exact) return undefined;
  // The server has no SET … IFEQ, or the reply is one that a lost request or the client itself accounts for.
  const answer = await runScript(claim, extendScript, [key], [claim.value, value, ttl]);
  answer.repeated ||= plain?.repeated ?? false;
  return isOne(answer) ? answer : undefined;
}
