import { lua } from "./lua.ts";
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

local function setHolder(token, untilWhen, since, owner)
  holders = '\nh ' .. token .. ' x 1 ' .. untilWhen .. ' ' .. since .. ' ' .. owner
end

-- The holder: token, until when, since when, owner.
local function holder()
  return holders:match('^\nh (%S+) %S+ %d+ (%d+) (%d+) ([^\n]*)')
end

-- Opens a value. A plain one is a state of one holder. False when it is neither: another library's.
local function open(value)
  local token, since, owner = value:match('^s2:([^: \n]+):%d+:(%d+):([^\n]*)$')
  if token then
    setHolder(token, now() + call('PTTL', lock), since, owner)
    return true
  end
  local ticket, ends, first = value:match('^s2!(%d+) (%d+) %d+()\n[hw] ')
  if not ticket then return false end
  local waiters = value:find('\nw ', first, true) or #value + 1
  holders, queue = value:sub(first, waiters - 1), value:sub(waiters)
  lastTicket, queueUntil = tonumber(ticket), tonumber(ends)
  return true
end

-- Writes what was opened. One holder and nobody else is a plain value. Returns that, or 's2!'.
-- It lives until the last lease or the last waiter's time is over.
-- A Redis that is full refuses SET, but not after a write that takes no memory: who is there already goes on.
local function write()
  local token, leaseEnd, since, owner = holder()
  if not token and queue == '' then return call('DEL', lock) end
  local life = (leaseEnd or 0) - now()
  local value = token and 's2:' .. token .. ':' .. life .. ':' .. since .. ':' .. owner
  local written = value
  if queue ~= '' then
    value, life = 's2!', math.max(life, queueUntil - now())
    written = value .. lastTicket .. ' ' .. queueUntil .. ' 1' .. holders .. queue
  end
  if redis.pcall('SET', lock, written, 'PX', life).err then
    call('PEXPIRE', lock, life)
    call('SET', lock, written, 'PX', life)
  end
  return value
end

-- Gives the lock to the first waiter that is still alive, if it is free or its holder's lease is over.
-- The grant lasts until that waiter's time is over.
local function pass()
  local _, leaseEnd = holder()
  if leaseEnd and tonumber(leaseEnd) > now() then return end
  holders = ''
  local rest = 1
  for token, ticket, alive, owner, behind in queue:gmatch(
    '\nw (%S+) %S+ %d+ (%d+) (%d+) %d+ ([^\n]*)()') do
    passed, rest = passed + 1, behind
    if tonumber(alive) > now() then
      setHolder(token, alive, now(), owner)
      granted = ticket
      break
    end
  end
  queue = queue:sub(rest)
end

-- Tells a waiter of its grant, after it was written. The message is its ticket, then ':' and what the plain
-- value says, or '!' when others wait. A grant that nobody heard is cut: its waiter may be dead. What the
-- message promises holds for a cut grant too, in case a server does not count all who listen.
-- PUBLISH may be missing: the waiter finds the grant by polling, too.
local function tell()
  if not granted then return end
  local token, leaseEnd, since, owner = holder()
  local left = leaseEnd - now()
  local mark = queue == '' and ':' .. left .. ':' .. since or '!'
  if redis.pcall('PUBLISH', 'sl:' .. token:sub(1, 18), granted .. mark) ~= 0 then return end
  setHolder(token, now() + math.max(left - ${unheardCut}, ${shortestGrant}), since, owner)
  write()
end

-- Takes a waiter out of the queue. Returns where it stood, its ticket, until when it counts as alive, when it first
-- asked. Nothing when it was not there.
local function takeOut(token)
  local from = queue:find('\nw ' .. token .. ' ', 1, true)
  if not from then return end
  local ticket, alive, asked, behind = queue:match('^\nw %S+ %S+ %d+ (%d+) (%d+) (%d+) [^\n]*()', from)
  queue = queue:sub(1, from - 1) .. queue:sub(behind)
  return from, tonumber(ticket), alive, asked
end
`;
