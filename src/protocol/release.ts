import { type Claim, leaseValue, unexpected } from "./claim.ts";
import { extend } from "./extend.ts";
import { runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  ARGV[1] our value
// Replies 1 when it was ours, else 0.
const releaseScript = `if redis.call('GET',KEYS[1])~=ARGV[1] then return 0 end
return redis.call('DEL',KEYS[1])`;

/** Whether the lock was ours; `undefined` when an earlier request, whose reply was lost, may have released it. */
export type Released = boolean | undefined;

/** Deletes the lock if it is still the claim's; never deletes another's. */
export async function release(claim: Claim): Promise<Released> {
  const { key, value } = claim;
  const plain = await tryCommand(claim, "compare", ["DELEX", key, "IFEQ", value]);
  let answer = plain;
  if (typeof plain?.reply !== "number") {
    // The server has no DELEX, or the reply is one that the client made up: the command may have been executed.
    answer = await runScript(claim, releaseScript, [key], [value]);
    answer.repeated ||= plain !== undefined;
  }
  if (answer?.reply === 1) return true;
  if (answer?.reply !== 0) throw unexpected(answer?.reply);
  return answer.repeated ? undefined : false;
}

/** Gives the lock up, but keeps it taken for `ms` more, by a value that is no holder's. */
export async function keep(claim: Claim, ms: number): Promise<Released> {
  const { since } = await extend(claim, ms, leaseValue(`${claim.token}.kept`, ms, claim.settings.owner));
  return since !== undefined;
}
