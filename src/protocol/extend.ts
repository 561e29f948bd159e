import { forever, type Moment } from "../time.ts";
import { type Claim, unexpected } from "./claim.ts";
import { runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  ARGV[1] our value  ARGV[2] the value to put there  ARGV[3] its lease in ms
// Replies 1 when it was put there, now or before, and 0 when the lock is not ours.
const extendScript = `local held=redis.call('GET',KEYS[1])
if held~=ARGV[1] and held~=ARGV[2] then return 0 end
redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3])
return 1`;

/** The moment the new lease is counted from, if the lock is ours, and whether a lost request may set it again. */
export interface Extended {
  since: Moment | undefined;
  repeated: boolean;
}

/** Starts the lease anew, `ttl` ms long, if the lock is still the claim's; `value` may replace the claim's. */
export async function extend(claim: Claim, ttl: number, value = claim.value): Promise<Extended> {
  const plain = await tryCommand(claim, "compare", ["SET", claim.key, value, "IFEQ", claim.value, "PX", ttl]);
  const before = plain?.repeated ?? false;
  if (plain?.reply === "OK") return { since: plain.sent, repeated: before };
  // The server has no SET … IFEQ, or the reply is one that a lost request or the client itself accounts for.
  if (plain?.reply !== null || before || claim.connection.client.resendsAfter < forever) {
    const { reply, sent, repeated } = await runScript(
      claim,
      extendScript,
      [claim.key],
      [claim.value, value, ttl],
    );
    if (reply === 1) return { since: sent, repeated: before || repeated };
    if (reply !== 0) throw unexpected(reply);
  }
  return { since: undefined, repeated: before };
}
