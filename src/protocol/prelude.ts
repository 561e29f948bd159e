import { lua } from "./lua.ts";
import { pausedLife, shortestGrant, unheardCut } from "./timing.ts";

/**
 * What every operation on a state uses: reads, changes and writes it (state.ts says what it looks like).
 * A state is a table: its key, the lines of holders (`h`) and waiters (`w`), the last ticket, until when a waiter counts
 * as alive, whom `pass` let in, and an operator's limit and pause. Lines stay texts. A queue of 1,000 is searched by
 * patterns, and not taken apart.
 */
export const preludeLua = lua`local call, clock = redis.call

-- A line: token, mode, weight, until when, since when, ticket, owner. A holder's ticket is 0.
local entry = '\n[hw] (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) ([^\n]*)()'

local function line(...)
  return '\n' .. table.concat({...}, ' ')
end

-- Server time in ms.
local function now()
  clock = clock or call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end

-- Opens what is at a key. A plain value is a state of one holder. Nil when it is another library's.
-- 'value' is false for what MGET found no text at, and nil for what may be written over.
-- 'said' is what an operator has set for the key.
local function open(key, value, said)
  local limit, paused = (said or ''):match('^(%d*):(1?)')
  local state = {key = key, h = '', w = '', ticket = 0, alive = 0, granted = {}, limit = tonumber(limit),
    paused = paused == '1', absent = value == false}
  if not value then return state end
  local token, since, owner = value:match('^s2:([^: \n]+):%d+:(%d+):([^\n]*)$')
  if token then
    state.h = line('h', token, 'x', 1, now() + call('PTTL', key), since, 0, owner)
    return state
  end
  local ticket, alive, first = value:match('^s2!(%d+) (%d+)()')
  if not ticket or not (value .. '\nh '):find('^\n[hw] ', first) then return end
  local waiters = value:find('\nw ', first, true) or #value + 1
  state.h, state.w = value:sub(first, waiters - 1), value:sub(waiters)
  state.ticket, state.alive = tonumber(ticket), tonumber(alive)
  return state
end

-- Takes a line out of the holders ('h') or the queue ('w'). Returns where it stood, mode, weight, until when, since
-- when, ticket, owner. Nothing when it was not there.
local function takeOut(state, kind, token)
  local lines = state[kind]
  local from = lines:find('\n' .. kind .. ' ' .. token .. ' ', 1, true)
  if not from then return end
  local _, mode, weight, ends, since, ticket, owner, behind = lines:match('^' .. entry, from)
  state[kind] = lines:sub(1, from - 1) .. lines:sub(behind)
  return from, mode, weight, ends, since, ticket, owner
end

-- Who waited for a result ('f') is an exclusive holder.
local function hold(state, token, mode, weight, ends, since, owner)
  if mode == 'f' then mode = 'x' end
  state.h = state.h .. line('h', token, mode, weight, ends, since, 0, owner)
end

-- Counts a holder: what kind all of them are, and the sum of their weights.
local function count(state, mode, weight)
  state.kind = tonumber(mode) and 'permit' or mode
  state.sum = state.sum + weight
end

-- Whether an operator ended a holder. It may work to the end of its lease.
local function isEnded(state, token)
  return state.h:find(token .. '.ended ', 1, true)
end

-- Whether one may join the holders that were counted. A permit's mode is its limit; an operator's limit goes before.
-- 'f' is as 'x'. Nobody is let in beside its own line: it may have asked before it was ended, by a request that is late.
local function fits(state, token, mode, weight)
  if isEnded(state, token) then return false end
  if state.paused or not state.kind then return not state.paused end
  local limit = tonumber(mode) and (state.limit or tonumber(mode))
  return state.kind == (limit and 'permit' or mode) and mode ~= 'x' and mode ~= 'f' and
    (not limit or state.sum + math.min(weight, limit) <= limit)
end

-- Drops the holders whose lease is over. Lets in who fits, in the order of the queue, up to the first that is alive and
-- does not fit. A grant lasts until its waiter's time is over.
local function pass(state)
  local lines = {}
  state.sum = 0
  for all, mode, weight, ends in state.h:gmatch('(\nh %S+ (%S+) (%d+) (%d+) [^\n]*)') do
    if tonumber(ends) > now() then
      lines[#lines + 1] = all
      count(state, mode, weight)
    end
  end
  state.h = table.concat(lines)
  local place, rest = 0, 1
  state.passed = 0
  for token, mode, weight, alive, _, ticket, owner, behind in state.w:gmatch(entry) do
    place = place + 1
    if tonumber(alive) > now() then
      state.blocked = not fits(state, token, mode, weight)
      if state.blocked then break end
      hold(state, token, mode, weight, alive, now(), owner)
      count(state, mode, weight)
      table.insert(state.granted, {token, ticket, alive - now()})
      state.passed, rest = place, behind
    end
  end
  -- Those that are left count as dead.
  if not state.blocked then state.passed, rest = place, #state.w + 1 end
  state.w = state.w:sub(rest)
end

-- Writes a state. One exclusive holder and nobody else is a plain value. Returns that, or 's2!'.
-- It lives until the last lease or the last waiter's time is over. A paused one stays, so that a SET NX fails.
-- A Redis that is full refuses SET, but not after a write that takes no memory: who is there already goes on.
-- MGET takes another library's list or hash for nothing. It is not written over.
local function write(state)
  local key, h, w = state.key, state.h, state.w
  if h .. w == '' and not state.paused then return state.absent or call('DEL', key) end
  local ends = w == '' and 0 or state.alive
  for leaseEnd in h:gmatch('\nh %S+ %S+ %d+ (%d+)') do
    ends = math.max(ends, leaseEnd)
  end
  local life = state.paused and ${pausedLife} or math.max(1, ends - now())
  local value = 's2!'
  local written = value .. state.ticket .. ' ' .. state.alive .. h .. w
  local token, since, owner = h:match('^\nh (%S+) x 1 %d+ (%d+) 0 ([^\n]*)$')
  if token and w == '' and not state.paused then
    value = 's2:' .. token .. ':' .. life .. ':' .. since .. ':' .. owner
    written = value
  end
  if state.absent then
    if not call('SET', key, written, 'PX', life, 'NX') then error('WRONGTYPE Another library has the key') end
    state.absent = false
  elseif redis.pcall('SET', key, written, 'PX', life).err then
    call('PEXPIRE', key, life)
    call('SET', key, written, 'PX', life)
  end
  return value
end

-- Writes a state, and then tells those whom 'pass' let in, but for the asker. The message is the ticket, then ':' and
-- what the plain value says, or '!' for a state. A grant that nobody heard is cut: its waiter may be dead. What the
-- message promises holds for a cut grant too, in case a server does not count all who listen.
-- PUBLISH may be missing: a waiter finds its grant by polling, too. Returns what 'write' does.
local function store(state, asker)
  local value, unheard = write(state)
  for _, grant in ipairs(state.granted) do
    local token, ticket, left = unpack(grant)
    local message = ticket .. (value == 's2!' and '!' or ':' .. left .. ':' .. now())
    if token ~= asker and redis.pcall('PUBLISH', 'sl:' .. token:sub(1, 18), message) == 0 then
      local _, mode, weight, _, since, _, owner = takeOut(state, 'h', token)
      hold(state, token, mode, weight, now() + math.max(left - ${unheardCut}, ${shortestGrant}), since, owner)
      unheard = true
    end
  end
  if unheard then write(state) end
  return value
end

-- What is at the keys. A user of few rights may have GET alone.
local function read()
  local values = redis.pcall('MGET', unpack(KEYS))
  if values.err then
    for i, key in ipairs(KEYS) do values[i] = call('GET', key) end
  end
  return values
end
`;
