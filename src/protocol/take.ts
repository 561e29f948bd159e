import type { Answer, Connection } from "../redis/connection.ts";
import type { Moment } from "../time.ts";
import { type Claim, type Holder, readHolder } from "./claim.ts";
import { runScript, tryCommand, unexpected } from "./script.ts";

/** Held, with the moment its lease is counted from, or busy, with what is known of the holder. */
export type Taken = { held: true; since: Moment; fence?: number } | { held: false; holder: Holder };

// KEYS[1] the lock  KEYS[2] the fencing counter, if a token is wanted
// ARGV[1] our value  ARGV[2] the lease in ms
// Replies {"held", fence or 0}, the lease starting anew, or {"busy", ":" and the holder's owner, lease, PTTL};
// the last three are "", 0 and the PTTL where the holder's value is not one of ours.
// A token is max(previous + 1, server time in ms): it rises although the counter is lost or the clock set back.
const takeScript = `local held=redis.call('GET',KEYS[1])
if held and held~=ARGV[1] then
local lease,owner=held:match('^sl:[^:]*:(%d+):(.*)$')
return {'busy',':'..(owner or ''),tonumber(lease or 0),redis.call('PTTL',KEYS[1])}
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
if not held then
redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[2])
elseif redis.call('PTTL',KEYS[1])<tonumber(ARGV[2]) then
redis.call('PEXPIRE',KEYS[1],ARGV[2])
end
return {'held',fence}`;

/**
 * Takes the lock if it is free or already ours: asked again with the same claim, it gives the same answer.
 * One plain command where that says enough; the script for a fencing token, and to settle a nil of a client
 * that may have made it up.
 */
export async function take(
  connection: Connection,
  claim: Claim,
  requestTimeout: number,
  signal: AbortSignal | undefined,
): Promise<Taken> {
  claim.since ??= connection.runtime.now();
  const asker = { signal, stragglers: claim.stragglers };
  if (!claim.fencing) {
    const { key, value, ttl } = claim;
    const exact = connection.client.resendsAfter === undefined;
    const command = exact
      ? ["SET", key, value, "NX", "GET", "PX", ttl]
      : ["SET", key, value, "NX", "PX", ttl];
    const answer = await tryCommand(connection, "take", command, requestTimeout, asker);
    const taken = answer && (exact ? readExact(answer, claim) : readSet(answer));
    if (taken) return taken;
  }
  const keys = claim.fencing ? [claim.key, `${claim.key}:fence`] : [claim.key];
  const answer = await runScript(
    connection,
    takeScript,
    keys,
    [claim.value, claim.ttl],
    requestTimeout,
    asker,
  );
  return readScript(answer, claim);
}

/** `SET … NX GET`: nil when it was free, else what is there. */
function readExact({ reply, sent }: Answer, claim: Claim): Taken {
  if (reply === null) return { held: true, since: sent };
  // An earlier request under this claim, whose reply was lost, had taken it.
  if (reply === claim.value) return { held: true, since: claim.since as Moment };
  if (typeof reply !== "string") throw unexpected(reply);
  return busy(claim, sent, readHolder(reply));
}

/** `SET … NX`: "OK" is the one reply that nothing but success makes. */
function readSet({ reply, sent }: Answer): Taken | undefined {
  return reply === "OK" ? { held: true, since: sent } : undefined;
}

function readScript({ reply, sent }: Answer, claim: Claim): Taken {
  if (!Array.isArray(reply)) throw unexpected(reply);
  const [answer, detail, lease, left] = reply as [unknown, unknown, number?, number?];
  if (answer === "held") return { held: true, since: sent, ...(claim.fencing && { fence: Number(detail) }) };
  if (answer !== "busy") throw unexpected(reply);
  const retryAfter = left && left > 0 ? left : lease || undefined;
  return busy(claim, sent, { owner: String(detail).slice(1) || undefined, retryAfter });
}

/** Nobody who is busy held the lock before: what is found later was taken after this request was sent. */
function busy(claim: Claim, sent: Moment, holder: Holder): Taken {
  claim.since = sent;
  return { held: false, holder };
}
