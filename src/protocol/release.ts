import { type Claim, isOne, leaseValue } from "./claim.ts";
import { extend } from "./extend.ts";
import { runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  ARGV[1] our value
// Replies 1 when it was ours, else 0.
const releaseScript = `if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end
return redis.call('DEL',KEYS[1])`;

/**
 * Deletes the lock if it is still the claim's; never deletes another's. True when it was the claim's, or when an
 * earlier request, whose reply was lost, may have found that.
 */
export async function release(claim: Claim): Promise<boolean> {
  const { key, value } = claim;
  let answer = await tryCommand(claim, "compare", ["DELEX", key, "IFEQ", value]);
  if (typeof answer?.reply !== "number") {
    // The server has no DELEX, or the reply is one that the client made up: the command may have been executed.
    const before = answer;
    answer = await runScript(claim, releaseScript, [key], [value]);
    answer.repeated ||= before !== undefined;
  }
  return isOne(answer) || answer.repeated;
}

/** Gives the lock up, but keeps it taken for `ms` more, by a value that is no holder's. */
export async function keep(claim: Claim, ms: number): Promise<boolean> {
  const value = leaseValue(`${claim.token}.kept`, ms, claim.settings.owner);
  return (await extend(claim, ms, value)) !== undefined;
}
