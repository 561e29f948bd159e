import type { Since } from "../time.ts";
import { busy, type Claim, isOurs, type Taken, unexpected } from "./claim.ts";
import { queueKeys, queueScript } from "./queue.ts";
import { runScript } from "./support.ts";

// KEYS[1] the lock  KEYS[2] its queue  KEYS[3] who is alive  KEYS[4] our mark of having left
// KEYS[5] the fencing counter, if a token is wanted
// ARGV[1] our value  ARGV[2] the lease in ms
// ARGV[3] '' not to stand in the queue, else how many ms ago we first asked
// Replies {what is at the lock now, its PTTL, fencing token or ticket, how many wait before us, our stay}: for so
// many ms we stand in the queue, 1.25 s at its head and up to 6.25 s far back, and 2.5 s for requests that get lost.
// The queue's keys outlive every stay in it, and vanish by themselves when nobody waits.
// Takes the lock if it is free and nobody waits before us; asked again by its holder, starts the lease anew.
// Who waits stands in the queue first, so that a free lock is passed to whoever has waited longest.
// A fencing token is max(previous + 1, server time in ms): it rises although the counter is lost or the clock
// set back. A ticket is made the same way, less what passed since we asked: the queue is in the order of asking.
export const joinScript = `${queueScript}
local ttl=tonumber(ARGV[2])
if ARGV[3]~='' and call('EXISTS',KEYS[4])==1 then return {'',0} end
local function above(last,ago) return string.format('%.0f',math.max(now(),(last or 0)+1)-(ago or 0)) end
local ticket,place,stay
if ARGV[3]~='' and not ours() then
ticket=call('ZSCORE',queue,me)
if not ticket then
ticket=above(call('ZRANGE',queue,-1,-1,'WITHSCORES')[2],ARGV[3])
call('ZADD',queue,ticket,me)
end
place=call('ZRANK',queue,me)
stay=2500+math.max(1250,math.min(6250,place*250))
call('ZADD',alive,'GT',now()+stay,me)
call('PEXPIRE',queue,20000)
call('PEXPIRE',alive,20000)
end
if not held then pass() end
if not held then
held='sl:'..me
call('SET',lock,held,'PX',ttl)
elseif ours() then
drop(me)
if call('PTTL',lock)<ttl then call('PEXPIRE',lock,ttl) end
end
if ours() then
if not KEYS[5] then return {held,0} end
local fence=above(call('GET',KEYS[5]))
call('SET',KEYS[5],fence,'PX',86400000)
return {held,0,fence}
end
if not ticket then return {held,call('PTTL',lock)} end
if held:match('^sl:[^:]+:%d+:') then
held='sl!'..held:sub(4)
call('SET',lock,held,'KEEPTTL')
end
return {held,call('PTTL',lock),ticket,place,stay}`;

/**
 * Takes the lock, or, if asked to, stands in its queue for one stay more, in the place it had. Idempotent. A grant
 * lasts as long as the stay: it counts from when the last request was sent that was answered with the same ticket.
 * @param sinceAsked since we asked first, to stand in the queue
 */
export async function join(claim: Claim, sinceAsked?: Since): Promise<Taken> {
  const { key, value, settings, asker } = claim;
  // Only the first stay counts from there: whoever was away too long comes last.
  const ago = sinceAsked && (claim.standing ? 0 : Math.floor(sinceAsked()));
  claim.standing ||= ago !== undefined;
  const keys = [...queueKeys(claim), ...(settings.fencing ? [`${key}:fence`] : [])];
  const { reply, sinceSent } = await runScript(
    claim,
    joinScript,
    keys,
    [value, settings.ttl, ago ?? ""],
    asker,
  );
  const [there, left, number, place, stay] = Array.isArray(reply) ? reply : [];
  if (typeof left !== "number") throw unexpected(reply);
  claim.since = sinceSent;
  if (isOurs(claim, there)) return { held: true, fence: number && Number(number) };
  return busy(`${there}`, left, `${number}`, place, stay);
}
