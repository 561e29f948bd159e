import type { Holder } from "../options.ts";
import type { Answer } from "../redis/connection.ts";
import { type Claim, readHolder, unexpected } from "./claim.ts";
import { runScript, tryCommand } from "./support.ts";

/** Held, or busy, with what is known of the holder. */
export type Taken = { held: true; fence?: number | undefined } | { held: false; holder: Holder };

// KEYS[1] the lock  KEYS[2] the fencing counter, if a token is wanted
// ARGV[1] our value  ARGV[2] the lease in ms
// Replies {what is there now, ms left, fence}: our own value, its lease starting anew, or another's.
// A token is max(previous + 1, server time in ms): it rises although the counter is lost or the clock set back.
const takeScript = `local call=redis.call
local held=call('GET',KEYS[1])
if held and held~=ARGV[1] then return {held,call('PTTL',KEYS[1])} end
local fence
if KEYS[2] then
fence=tonumber(call('GET',KEYS[2]) or 0)
if not held then
local t=call('TIME')
fence=math.max(fence+1,t[1]*1000+math.floor(t[2]/1000))
call('SET',KEYS[2],string.format('%.0f',fence),'PX',86400000)
end
end
if not held or call('PTTL',KEYS[1])<tonumber(ARGV[2]) then
call('SET',KEYS[1],ARGV[1],'PX',ARGV[2])
end
return {ARGV[1],0,fence}`;

/**
 * Takes the lock if it is free or already ours: asked again with the same claim, it gives the same answer.
 * One plain command where that says enough; the script for a fencing token, and to settle a nil of a client
 * that may have made it up.
 */
export async function take(claim: Claim): Promise<Taken> {
  const { key, value, asker } = claim;
  const { exact } = claim.connection;
  const { ttl, fencing } = claim.settings;
  if (!fencing) {
    const command = ["SET", key, value, "NX", ...(exact ? ["GET"] : []), "PX", ttl];
    const answer = await tryCommand(claim, "take", command, asker);
    if (answer && exact) return readExact(answer, claim);
    // "OK" is the one reply that nothing but success makes.
    if (answer?.reply === "OK") {
      claim.since = answer.sent;
      return { held: true };
    }
  }
  const keys = fencing ? [key, `${key}:fence`] : [key];
  const answer = await runScript(claim, takeScript, keys, [value, ttl], asker);
  const [there, left, fence] = Array.isArray(answer.reply) ? answer.reply : [];
  if (typeof left !== "number") throw unexpected(answer.reply);
  claim.since = answer.sent;
  return there === value ? { held: true, fence } : { held: false, holder: readHolder(`${there}`, left) };
}

/** The reply to `SET … NX GET`: nil when it was free, else what is there. */
function readExact({ reply, sent }: Answer, claim: Claim): Taken {
  // An earlier request under this claim, whose reply was lost, had taken it.
  if (reply === claim.value) return { held: true };
  // Just taken, or another's: then what is found later was taken after this request was sent.
  claim.since = sent;
  if (reply === null) return { held: true };
  if (typeof reply !== "string") throw unexpected(reply);
  return { held: false, holder: readHolder(reply) };
}
