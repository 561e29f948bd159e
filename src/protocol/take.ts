import type { Holder } from "../options.ts";
import type { Answer } from "../redis/connection.ts";
import { forever, type Moment } from "../time.ts";
import { type Claim, readHolder, unexpected } from "./claim.ts";
import { runScript, tryCommand } from "./support.ts";

/** Held, with the moment its lease is counted from, or busy, with what is known of the holder. */
export type Taken = { held: true; since: Moment; fence?: number } | { held: false; holder: Holder };

// KEYS[1] the lock  KEYS[2] the fencing counter, if a token is wanted
// ARGV[1] our value  ARGV[2] the lease in ms
// Replies {"held", fence or 0}, the lease starting anew, or {"busy", ":" and the holder's owner, ms left};
// A token is max(previous + 1, server time in ms): it rises although the counter is lost or the clock set back.
const takeScript = `local held=redis.call('GET',KEYS[1])
if held and held~=ARGV[1] then
return {'busy',':'..(held:match('^sl:[^:]*:%d+:(.*)$') or ''),redis.call('PTTL',KEYS[1])}
end
local fence=0
if KEYS[2] then
fence=tonumber(redis.call('GET',KEYS[2]) or 0)
if not held then
local t=redis.call('TIME')
fence=math.max(fence+1,t[1]*1000+math.floor(t[2]/1000))
redis.call('SET',KEYS[2],string.format('%.0f',fence),'PX',86400000)
end
end
if not held or redis.call('PTTL',KEYS[1])<tonumber(ARGV[2]) then
redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[2])
end
return {'held',fence}`;

/**
 * Takes the lock if it is free or already ours: asked again with the same claim, it gives the same answer.
 * One plain command where that says enough; the script for a fencing token, and to settle a nil of a client
 * that may have made it up.
 */
export async function take(claim: Claim): Promise<Taken> {
  const { key, value, connection, stragglers } = claim;
  const { ttl, fencing, signal } = claim.settings;
  const asker = { signal, stragglers };
  claim.since ??= connection.runtime.now();
  if (!fencing) {
    const exact = connection.client.resendsAfter === forever;
    const command = ["SET", key, value, "NX", ...(exact ? ["GET"] : []), "PX", ttl];
    const answer = await tryCommand(claim, "take", command, asker);
    if (answer && exact) return readExact(answer, claim);
    // "OK" is the one reply that nothing but success makes.
    if (answer?.reply === "OK") return { held: true, since: answer.sent };
  }
  return readScript(
    await runScript(claim, takeScript, fencing ? [key, `${key}:fence`] : [key], [value, ttl], asker),
    claim,
  );
}

/** The reply to `SET … NX GET`: nil when it was free, else what is there. */
function readExact({ reply, sent }: Answer, claim: Claim): Taken {
  if (reply === null) return { held: true, since: sent };
  // An earlier request under this claim, whose reply was lost, had taken it.
  if (reply === claim.value) return { held: true, since: claim.since as Moment };
  if (typeof reply !== "string") throw unexpected(reply);
  return busy(claim, sent, readHolder(reply));
}

function readScript({ reply, sent }: Answer, claim: Claim): Taken {
  const [answer, detail, left] = Array.isArray(reply) ? reply : [];
  if (answer === "held")
    return { held: true, since: sent, ...(claim.settings.fencing && { fence: Number(detail) }) };
  if (answer !== "busy") throw unexpected(reply);
  return busy(claim, sent, {
    owner: String(detail).slice(1) || undefined,
    retryAfter: left > 0 ? left : undefined,
  });
}

/** Whoever is busy did not hold the lock before: what is found later was taken after this request was sent. */
function busy(claim: Claim, sent: Moment, holder: Holder): Taken {
  claim.since = sent;
  return { held: false, holder };
}
