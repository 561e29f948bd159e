import type { Attempt } from "./attempt.ts";
import { lua } from "./lua.ts";
import { busy, granted, keysOf, type Outcome, unexpected } from "./protocol.ts";
import { queueRoom, shortOwner } from "./state.ts";
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
// ARGV[1] our token  ARGV[2] our owner, cut to stand in the queue  ARGV[3] the lease in ms
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

-- Those who waited behind another library's holder come along once it is gone.
if beside then open(beside) end
local foreign = there and not open(there)

-- Where a newcomer stands: at the end, but before all at the end who clearly asked later, and whose request was
-- only faster. Nobody passes one that stood there before it first asked.
local function newPlace(asked)
  local place = #queue + 1
  while true do
    local line, theirs = queue:sub(math.max(1, place - 130), place - 1):match(
      '(\nw %S+ %S+ %d+ %d+ %d+ (%d+) [^\n]*)$')
    theirs = tonumber(theirs or 0)
    if theirs <= asked + ${askedTogether} or theirs > now() then return place end
    place = place - #line
  end
end

-- Stands in the queue, if asked to, in the place it had. Returns ticket, place and stay; nothing where there is no
-- room, also not without the dead.
local function stand()
  if not ago then return end
  local from, ticket, alive, asked = takeOut(token)
  if not from then
    if #queue >= ${queueRoom} then
      queue = queue:gsub('\nw %S+ %S+ %d+ %d+ (%d+)[^\n]*', function(alive)
        if tonumber(alive) <= now() then return '' end
      end)
    end
    if #queue >= ${queueRoom} then return end
    asked = now() - ago
    from = newPlace(asked)
    lastTicket = math.max(now(), lastTicket + 1)
    ticket, alive = lastTicket, 0
  end
  local place, line = 0, queue:find('\nw ', 1, true)
  while line and line < from do
    place, line = place + 1, queue:find('\nw ', line + 1, true)
  end
  local pause = math.max(${pollEvery}, math.min(${pollAtLeastEvery}, place * ${pollLaterPerPlace}))
  local stay = ${lostRequestMargin} + pause
  alive = math.max(alive, now() + stay)
  queueUntil = math.max(queueUntil, alive)
  local ours = table.concat({'\nw', token, 'x 1', ticket, alive, asked, owner}, ' ')
  queue = queue:sub(1, from - 1) .. ours .. queue:sub(from)
  return ticket, place, stay
end

if foreign then
  local left = call('PTTL', lock)
  lock = KEYS[2]
  local ticket, place, stay = stand()
  if ticket then write() end
  return {0, ':', left, 1, ticket, place, stay}
end

local function store()
  if beside then call('DEL', KEYS[2]) end
  return write()
end

local function hold(leaseEnd, since)
  setHolder(token, leaseEnd, since, owner)
  local value = store()
  if not KEYS[4] then return {1, value} end
  local fence = math.max(now(), (lastFence or 0) + 1)
  call('SET', KEYS[4], fence, 'PX', ${fenceLife})
  return {1, value, fence}
end

local holding, leaseEnd, since = holder()
if holding == token then return hold(math.max(leaseEnd, now() + ttl), since) end
local ticket, place, stay = stand()
pass()
if holders == '' or holder() == token then return hold(now() + ttl, now()) end
if ticket or granted then
  store()
  tell()
end
local _, busyUntil, _, busyOwner = holder()
return {0, ':' .. busyOwner, busyUntil - now(), 0, ticket, ticket and place - passed, stay}`;

/**
 * Takes the lock, or, if asked to, stands in its queue for one stay more, in the place it had. Idempotent. A grant
 * lasts as long as the stay: it counts from when the last request was sent that was answered with the same ticket.
 * @param ago how many ms ago we first asked, to stand in the queue
 */
export async function join(attempt: Attempt, ago?: number): Promise<Outcome> {
  const { redisKey, token, settings } = attempt;
  const fence = settings.fencing ? [`${redisKey}:fence`] : [];
  const keys = [...keysOf(attempt), ...fence];
  const { owner = "", ttl } = settings;
  // In the queue there is room for some of it.
  const args = [token, ago === undefined ? owner : shortOwner(owner), ttl, ago ?? ""];
  const asking = { taking: true, waiting: ago !== undefined };
  const { reply, sinceSent: since } = await runScript(attempt, "join", keys, args, asking);
  const [held, text, number, foreign, ticket, place, stay] = Array.isArray(reply) ? reply : [];
  if (typeof text !== "string") throw unexpected(reply);
  if (held === 1) return granted(attempt, text, since, number);
  if (typeof number !== "number") throw unexpected(reply);
  const queued = ticket === undefined ? undefined : { ticket, place, stay, since, foreign: foreign === 1 };
  return busy(text.slice(1), number, queued);
}
