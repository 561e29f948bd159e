import { lua } from "./lua.ts";
import { ownerRoom } from "./state.ts";
import { shortestGrant, unheardCut } from "./timing.ts";

/**
 * What every operation on a state uses: reads, changes and writes it (state.ts says what it looks like).
 * The first KEYS is where the state is.
 * Holders and waiters stay texts. A queue of 1,000 is searched by patterns, and not taken apart.
 */
export const preludeLua = lua`local call, lock = redis.call, KEYS[1]
local holders, queue, lastTicket, queueUntil = '', '', 0, 0
local passed, granted, clock = 0

-- Server time in ms.
local function now()
  clock = clock or call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end

-- An owner in a state takes at most ${ownerRoom} bytes. A character is kept whole or not at all.
local function short(owner)
  if #owner <= ${ownerRoom} then return owner end
  local cut = owner:sub(1, ${ownerRoom} + 1):gsub('[^\128-\191][\128-\191]*$', '')
  return cut
end

local function setHolder(token, untilWhen, since, owner)
  holders = '\nh ' .. token .. ' x 1 ' .. untilWhen .. ' ' .. since .. ' ' .. owner
end

-- The holder: token, until when, since when, owner.
local function holder()
  return holders:match('^\nh (%S+) %S+ %d+ (%d+) (%d+) ([^\n]*)')
end

-- A plain value: token, since when, owner. Nothing for any other value.
local function readPlain(value)
  return value:match('^s2:([^: \n]+):%d+:(%d+):([^\n]*)$')
end

-- Opens a state. False when the value is none.
local function readState(value)
  local ticket, ends, first = value:match('^s2!(%d+) (%d+) %d+()\n[hw] ')
  if not ticket then return false end
  local waiters = value:find('\nw ', first, true) or #value + 1
  holders, queue = value:sub(first, waiters - 1), value:sub(waiters)
  lastTicket, queueUntil = tonumber(ticket), tonumber(ends)
  return true
end

-- A Redis that is full refuses SET, but not after a write that takes no memory: who is there already goes on.
local function set(value, life)
  if redis.pcall('SET', lock, value, 'PX', life).err then
    call('PEXPIRE', lock, life)
    call('SET', lock, value, 'PX', life)
  end
end

-- Writes the state. It lives until the last lease or the last waiter's time is over.
-- One holder and nobody else is written as a plain value. Returns that, or 's2!'.
local function write()
  local token, leaseEnd, since, owner = holder()
  leaseEnd = tonumber(leaseEnd or 0)
  if queue ~= '' then
    local value = 's2!' .. lastTicket .. ' ' .. queueUntil .. ' 1' .. holders .. queue
    set(value, math.max(leaseEnd, queueUntil) - now())
    return 's2!'
  end
  if not token then return call('DEL', lock) end
  local lease = leaseEnd - now()
  local value = 's2:' .. token .. ':' .. lease .. ':' .. since .. ':' .. owner
  set(value, lease)
  return value
end

-- Gives the lock to the first waiter that is still alive, if it is free or its holder's lease is over.
-- The grant lasts until that waiter's time is over.
local function pass()
  local _, leaseEnd = holder()
  if leaseEnd and tonumber(leaseEnd) > now() then return end
  holders = ''
  local from = 1
  repeat
    local token, ticket, alive, owner, behind = queue:match(
      '^\nw (%S+) %S+ %d+ (%d+) (%d+) %d+ ([^\n]*)()', from)
    if not token then break end
    from = behind
    passed = passed + 1
    if tonumber(alive) > now() then
      setHolder(token, alive, now(), owner)
      granted = { token = token, ticket = ticket, alive = tonumber(alive), owner = owner }
    end
  until granted
  queue = queue:sub(from)
end

-- Tells a waiter of its grant, after it was written. The message is its ticket, then ':' and what the plain
-- value says, or '!' when others wait. A grant that nobody heard is cut: its waiter may be dead. What the
-- message promises holds for a cut grant too, in case a server does not count all who listen.
-- PUBLISH may be missing: the waiter finds the grant by polling, too.
local function tell()
  if not granted then return end
  local left = granted.alive - now()
  local mark = queue == '' and ':' .. left .. ':' .. now() or '!'
  local channel = 'sl:' .. granted.token:sub(1, 18)
  if redis.pcall('PUBLISH', channel, granted.ticket .. mark) ~= 0 then return end
  setHolder(granted.token, now() + math.max(left - ${unheardCut}, ${shortestGrant}), now(), granted.owner)
  write()
end

-- Where a waiter's line begins and what follows it, its ticket, until when it counts as alive, when it first asked.
local function find(token)
  local from = queue:find('\nw ' .. token .. ' ', 1, true)
  if not from then return end
  local ticket, alive, asked, behind = queue:match('^\nw %S+ %S+ %d+ (%d+) (%d+) (%d+) [^\n]*()', from)
  return from, behind, tonumber(ticket), tonumber(alive), asked
end

-- Takes whoever it is out of the state. False when it was not there.
local function drop(token)
  local from, behind = find(token)
  if from then
    queue = queue:sub(1, from - 1) .. queue:sub(behind)
  elseif holder() == token then
    holders = ''
  else
    return false
  end
  return true
end
`;
