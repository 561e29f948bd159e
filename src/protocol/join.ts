import type { Attempt } from "./attempt.ts";
import { lua } from "./lua.ts";
import { granted, type Outcome, unexpected } from "./protocol.ts";
import { queueRoom } from "./state.ts";
import { runScript } from "./support.ts";
import {
  askedTogether,
  fenceLife,
  lostRequestMargin,
  pollAtLeastEvery,
  pollEvery,
  pollLaterPerPlace,
} from "./timing.ts";

// KEYS[1] the lock  KEYS[2] the queue behind another library's lock  KEYS[3] our tombstone
// KEYS[4] the fencing counter, if a token is wanted
// ARGV[1] our token  ARGV[2] our owner  ARGV[3] the lease in ms
// ARGV[4] '' not to stand in the queue, else how many ms ago we first asked
// Replies
//   {1, our plain value or 's2!', fencing token} when we hold the lock;
//   {0, ':' and the holder's owner, ms left of its lease, 1 for another library's, else 0} when we do not, and
//   {…, our ticket, how many wait before us, for how many ms we count as alive} when we stand in the queue.
// Takes the lock if it is free and nobody waits before us. Asked again by its holder, starts the lease anew.
// Who waits stands in the queue first, so that a free lock is passed to whoever has waited longest.
// Tickets and fencing tokens rise, also across a server's clock that steps back: max(previous + 1, server time).
export const joinLua = lua`
local token, owner, ttl, ago = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local there, beside, tombstone, lastFence = unpack(call('MGET', unpack(KEYS)))
if tombstone then return {0, ':', 0, 0} end

local function held(value)
  if not KEYS[4] then return {1, value} end
  local fence = math.max(now(), (lastFence or 0) + 1)
  call('SET', KEYS[4], fence, 'PX', ${fenceLife})
  return {1, value, fence}
end

local plain, plainSince, plainOwner = readPlain(there or '')
if plain == token then
  if call('PTTL', lock) < ttl then call('PEXPIRE', lock, ttl) end
  return held(there)
end

local state = there and not plain and readState(there)
local foreign = there and not plain and not state
-- Those who waited behind another library's holder. They come along once it is gone.
if state then beside = nil end
if beside then readState(beside) end

-- Where a newcomer stands: at the end, but before all at the end who clearly asked later, and whose request was
-- only faster. Nobody passes one that stood there before it first asked.
local function newPlace(asked)
  local function later(theirs)
    return tonumber(theirs) > asked + ${askedTogether} and tonumber(theirs) <= now()
  end
  local last = queue:sub(-130):match('\nw %S+ %S+ %d+ %d+ %d+ (%d+) [^\n]*$')
  if not last or not later(last) then return #queue + 1 end
  local place
  for from, theirs in queue:gmatch('()\nw %S+ %S+ %d+ %d+ %d+ (%d+)') do
    place = later(theirs) and (place or from) or nil
  end
  return place
end

-- Drops the dead where there is room for no more.
local function hasRoom()
  if #queue >= ${queueRoom} then
    queue = queue:gsub('\nw %S+ %S+ %d+ %d+ (%d+)[^\n]*', function(alive)
      if tonumber(alive) <= now() then return '' end
    end)
  end
  return #queue < ${queueRoom}
end

-- Stands in the queue, in the place it had. Returns ticket, place and stay; nothing where there is no room.
local function stand()
  local from, behind, ticket, alive, asked = find(token)
  if not from then
    if not hasRoom() then return end
    asked = now() - ago
    from = newPlace(asked)
    lastTicket = math.max(now(), lastTicket + 1)
    behind, ticket, alive = from, lastTicket, 0
  end
  local place, line = 0, queue:find('\nw ', 1, true)
  while line and line < from do
    place, line = place + 1, queue:find('\nw ', line + 1, true)
  end
  local pause = math.max(${pollEvery}, math.min(${pollAtLeastEvery}, place * ${pollLaterPerPlace}))
  local stay = ${lostRequestMargin} + pause
  alive = math.max(alive, now() + stay)
  queueUntil = math.max(queueUntil, alive)
  local ours = table.concat({'\nw', token, 'x 1', ticket, alive, asked, short(owner)}, ' ')
  queue = queue:sub(1, from - 1) .. ours .. queue:sub(behind)
  return ticket, place, stay
end

if foreign then
  local left = call('PTTL', lock)
  local busy = {0, ':', left, 1}
  if not ago then return busy end
  lock = KEYS[2]
  busy[5], busy[6], busy[7] = stand()
  if busy[5] then write() end
  return busy
end

local function store()
  local value = write()
  if beside then call('DEL', KEYS[2]) end
  return value
end

if plain then setHolder(plain, now() + call('PTTL', lock), plainSince, short(plainOwner)) end

local holding, leaseEnd, since = holder()
if holding == token then
  setHolder(token, math.max(leaseEnd, now() + ttl), since, short(owner))
  return held(store())
end

local ticket, place, stay
if ago then ticket, place, stay = stand() end
pass()
if granted and granted.token == token then granted, holders = nil, '' end
if holders == '' then
  setHolder(token, now() + ttl, now(), queue == '' and owner or short(owner))
  return held(store())
end
if ticket or granted then
  store()
  tell()
end
local _, busyUntil, _, busyOwner = holder()
local busy = {0, ':' .. busyOwner, busyUntil - now(), 0}
if ticket then busy[5], busy[6], busy[7] = ticket, place - passed, stay end
return busy`;

/**
 * Takes the lock, or, if asked to, stands in its queue for one stay more, in the place it had. Idempotent. A grant
 * lasts as long as the stay: it counts from when the last request was sent that was answered with the same ticket.
 * @param ago how many ms ago we first asked, to stand in the queue
 */
export async function join(attempt: Attempt, ago?: number): Promise<Outcome> {
  const { redisKey, token, settings } = attempt;
  const fence = settings.fencing ? [`${redisKey}:fence`] : [];
  const keys = [redisKey, `${redisKey}:queue`, `${redisKey}:gone:${token}`, ...fence];
  const args = [token, settings.owner ?? "", settings.ttl, ago ?? ""];
  const asking = { taking: true, waiting: ago !== undefined };
  const { reply, sinceSent: since } = await runScript(attempt, "join", keys, args, asking);
  const [held, text, number, foreign, ticket, place, stay] = Array.isArray(reply) ? reply : [];
  if (typeof text !== "string") throw unexpected(reply);
  if (held === 1) return granted(attempt, text, since, number);
  if (typeof number !== "number") throw unexpected(reply);
  const retryAfter = number > 0 ? number : undefined;
  const holder = { owner: text.slice(1) || undefined, retryAfter, place };
  if (ticket === undefined) return { held: false, holder, queued: undefined };
  const queued = { ticket: Number(ticket), stay: Number(stay), since, foreign: foreign === 1 };
  return { held: false, holder, queued };
}
