import { type Claim, leaseValue, unexpected } from "./claim.ts";
import { extend } from "./extend.ts";
import { queueKeys, queueScript } from "./queue.ts";
import { runScript, tryCommand } from "./support.ts";

// KEYS[1] the lock  KEYS[2] its queue  KEYS[3] who is alive  KEYS[4] our mark of having left
// ARGV[1] our value  ARGV[2] '' to stay as we are, else we leave the queue, and our mark stays for so many ms
// Gives the lock to the first live waiter. Replies 1 when it was ours, else 0. The first who waits marks the value, so
// behind one without a mark nobody waits, and the queue is not looked at.
export const releaseScript = `${queueScript}
if ARGV[2]~='' then
drop(me)
if ARGV[2]~='0' then call('SET',KEYS[4],1,'PX',ARGV[2]) end
end
if not ours() then return 0 end
if held:sub(3,3)==':' then held=nil else pass() end
if not held then call('DEL',lock) end
return 1`;

/**
 * Deletes the lock, or hands it over, if it is still the claim's; never touches another's. True when it was the
 * claim's, or when an earlier request, whose reply was lost, may have found that.
 * @param late requests of the claim may be on their way: for a while they are to find a mark and do nothing
 * @param leaving it may also stand in the queue
 */
export async function release(
  claim: Claim,
  late = claim.asker.stragglers.length > 0,
  leaving = late,
): Promise<boolean> {
  const { key, value, contended, settings } = claim;
  const leaves = leaving && claim.standing;
  // Where nobody waits, one command. It fails where the value was marked, by the first who waits.
  const command = ["DELEX", key, "IFEQ", value];
  const plain = contended || leaves ? undefined : await tryCommand(claim, "compare", command);
  if (plain?.reply === 1) return true;
  const mark = late ? 4 * settings.requestTimeout : 0;
  const { reply, repeated } = await runScript(claim, releaseScript, queueKeys(claim), [
    value,
    leaves ? mark : "",
  ]);
  if (reply !== 0 && reply !== 1) throw unexpected(reply);
  // Any other reply than 0 the client made up: the command may have been executed.
  return reply === 1 || repeated || (plain !== undefined && (plain.repeated || plain.reply !== 0));
}

/** Gives the lock up, but keeps it taken for `ms` more, by a value that is no holder's. */
export async function keep(claim: Claim, ms: number): Promise<boolean> {
  const value = leaseValue(`${claim.token}.kept`, ms, claim.settings.owner);
  return (await extend(claim, ms, value)) !== undefined;
}
