import { lua } from "../protocol/lua.ts";
import { preludeLua } from "../protocol/prelude.ts";
import { marksRoom } from "../protocol/state.ts";
import { marksLife } from "../protocol/timing.ts";

// Four KEYS for each lock: the lock, what an operator has set for it, the queue behind another library's lock, the
// fencing counter.
// Replies the server's time in ms, or 0 where nothing needs it, and for each lock what is at its keys and how many ms are
// left of a value that is no state. A '=' is in front of the lock's value, so that no client takes it for JSON. Of another
// library's list or hash there is nothing behind it.
const lookLua = lua`
local values, reply = read(), {0}
for i = 1, #KEYS, 4 do
  local value, left = values[i], 0
  if not value and call('EXISTS', KEYS[i]) == 1 then value = '' end
  local state = value and value:find('^s2!')
  if state or values[i + 2] then reply[1] = now() end
  if value and not state then left = call('PTTL', KEYS[i]) end
  table.insert(reply, {value and '=' .. value, values[i + 1], values[i + 2], values[i + 3], left})
end
return reply`;

// KEYS: the lock, what an operator has set for it, the queue behind another library's lock
// ARGV[1] 'safe' or 'now'  and the tokens of the holders that are meant, or '=' and another library's value
// Ends these holders and no other, so that it may be asked again. A safe one keeps its lease, and no renewal knows it any
// more. What is kept ends at once. Lets in who fits then. Replies for how many ms the last of them keeps its lease.
const finishLua = lua`
local values, named, marks, within = read(), {}, '', 0
for i = 2, #ARGV - 1 do named[ARGV[i]] = true end
local state = open(KEYS[1], values[1], values[2])
if not state or named['='] then
  if ARGV[1] ~= 'now' or not named['=' .. (values[1] or '')] then return 0 end
  state = open(KEYS[1], nil, values[2])
  local waiting = open(KEYS[3], values[3])
  if waiting then
    state.w, state.alive, state.ticket = waiting.w, waiting.alive, waiting.ticket
    call('DEL', KEYS[3])
  end
end
state.h = state.h:gsub('\nh (%S+)( %S+ %d+ (%d+)[^\n]*)', function(token, rest, ends)
  if not named[token] then return end
  local whole = token:gsub('%.ended$', '')
  if ARGV[1] == 'now' or whole:find('%.kept$') then
    marks = marks .. whole .. '.ended '
    within = math.max(within, ends - now())
    return ''
  end
  return '\nh ' .. whole .. '.ended' .. rest
end)
-- Their renewal is told why, as is that of those who were ended before. A Redis that is full goes without.
if marks ~= '' then
  local limit, paused, before = word(values[2])
  if before ~= '' then within = math.max(within, call('PTTL', KEYS[2])) end
  local life = limit .. paused == '' and {'PX', math.max(1, within)} or {}
  local said = limit .. ':' .. paused .. ':' .. marks .. before:sub(1, ${marksRoom})
  redis.pcall('SET', KEYS[2], said, unpack(life))
end
pass(state)
store(state)
within = 0
for ends in state.h:gmatch('\nh %S+%.ended %S+ %d+ (%d+)') do
  within = math.max(within, ends - now())
end
return within`;

// KEYS: the lock, what an operator has set for it
// ARGV[1] the limit from now on, '' for none, '-' as it is  ARGV[2] '1' to pause, '' not to, '-' as it is
// Lets in who fits then. Another library's value stays as it is, a list or a hash too: MGET takes those for nothing.
const steerLua = lua`
local values = read()
local limit, paused, marks = word(values[2])
if ARGV[1] ~= '-' then limit = ARGV[1] end
if ARGV[2] ~= '-' then paused = ARGV[2] end
local said = limit .. ':' .. paused .. ':' .. marks
if limit .. paused ~= '' then
  call('SET', KEYS[2], said)
elseif marks == '' or redis.pcall('SET', KEYS[2], said, 'PX', ${marksLife}).err then
  call('DEL', KEYS[2])
end
local state = open(KEYS[1], values[1], said)
if state and (values[1] or call('EXISTS', KEYS[1]) == 0) then
  pass(state)
  store(state)
end
return 1`;

/** The script of an operator. Its last argument is the operation. It knows what the protocol's own script does. */
export const adminScript = () => lua`${preludeLua}
-- What an operator has set: the limit, '1' if paused, the marks of those whom he ended.
local function word(said)
  local limit, paused, marks = (said or ''):match('^(%d*):(1?):(.*)$')
  return limit or '', paused or '', marks or ''
end
local operations = {}
function operations.look()${lookLua}
end
function operations.finish()${finishLua}
end
function operations.steer()${steerLua}
end
return operations[ARGV[#ARGV]]()`;

export type AdminOperation = "look" | "finish" | "steer";
