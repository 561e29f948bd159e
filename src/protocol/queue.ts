import type { Claim } from "./claim.ts";

// The queue of a lock: two sorted sets beside it, gone when nobody waits. A member is a waiter's value without its
// first three characters, which are "sl:", "sl!" where others wait, or "sl?" where they may: so a holder learns of them.
//   <key>:queue  member → ticket: when it first asked, in server time, and the number of this stay in the queue
//   <key>:alive  member → the server time in ms until which it counts as alive, and until which a grant to it lasts
//   <key>:gone:<token>  a mark that keeps a request of a waiter that left from taking anything

/** The keys of the queue, after that of the lock. */
export function queueKeys({ key, token }: Claim): string[] {
  return [key, `${key}:queue`, `${key}:alive`, `${key}:gone:${token}`];
}

/** A waiter's channel. Only a part of its token: channels stand in URLs. */
export function channelOf({ token }: Claim): string {
  return `sl:${token.slice(0, 18)}`;
}

/**
 * What the scripts of the queue begin with: the names, and `pass`, which gives the lock to the first live waiter,
 * if there is one, for as long as that counts as alive, and tells its channel the ticket, with ":", or "!" where
 * others wait behind it, or "?" where nobody listens: it may be dead, and the grant ends 1.5 s earlier, after the
 * time by which it would have asked. It may listen all the same, where a server counts but some of its listeners.
 * PUBSUB and PUBLISH may be missing: the waiter finds the grant by polling, too. A Redis that is full refuses the SET:
 * then the lock is free for whoever asks next.
 */
export const queueScript = `local call,lock,queue,alive=redis.call,KEYS[1],KEYS[2],KEYS[3]
local me,held,time=ARGV[1]:sub(4),call('GET',lock)
local function now()
time=time or call('TIME')
return time[1]*1000+math.floor(time[2]/1000)
end
local function ours() return held and held:sub(4)==me end
local function drop(who)
call('ZREM',queue,who)
call('ZREM',alive,who)
end
local function pass()
local first=call('ZRANGE',queue,0,1,'WITHSCORES')
held=first[1]
if not held then return end
local left=(call('ZSCORE',alive,held) or 0)-now()
drop(held)
if left<=0 then return pass() end
local mark,channel=first[3] and '!' or ':','sl:'..held:sub(1,18)
if (redis.pcall('PUBSUB','NUMSUB',channel) or '')[2]==0 then
mark,left='?',math.max(left-1500,500)
end
held='sl'..mark..held
if redis.pcall('SET',lock,held,'PX',left).err then
held=nil
return
end
redis.pcall('PUBLISH',channel,first[2]..mark)
end
`;
