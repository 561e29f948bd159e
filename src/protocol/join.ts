import type { Attempt, Claim, Part } from "./attempt.ts";
import { lua } from "./lua.ts";
import {
  busy,
  type Grant,
  granted,
  keysOf,
  type Outcome,
  resultKey,
  takesResult,
  unexpected,
} from "./protocol.ts";
import { release } from "./release.ts";
import { isOurs, isState, shortOwner, stateRoom } from "./state.ts";
import { type Asking, askTogether, runScript } from "./support.ts";
import {
  askedTogether,
  fenceLife,
  lostRequestMargin,
  pollAtLeastEvery,
  pollEvery,
  pollLaterPerPlace,
} from "./timing.ts";

// Of one lock or several. Four KEYS for each: the lock, what an operator has set for it, the queue behind another
// library's lock, our tombstone. Behind them a fencing counter for each, if a token is wanted; and the result, for one lock of
// mode 'f'.
// ARGV[1] the lease in ms  ARGV[2] '' not to stand in the queue, else how many ms ago we first asked
// ARGV[3] our owner, cut if it is to stand in a state  and three for each lock: our token, our mode, our weight
// and, for mode 'f', our last ticket or 0
// Replies
//   {1, fencing token or 0, for each lock our plain value or 's2!'} when we hold all of them;
//   {0, ':' and a holder's owner, ms left of its lease, whose, which lock} when one of them is taken. Whose is 1 for another
//   library's, 2 for our own that an operator ended, else 0;
//   {…, our ticket, how many wait before us, for how many ms we count as alive} when we stand in its queue, too;
//   {2, result} when there is one for us, whoever has the lock; then we stand in no queue.
// Takes the locks if all are free for us and nobody waits before us. Asked again by their holder, starts the leases anew.
// Who waits stands in the queue first, so that a free lock is passed to whoever has waited longest.
// Tickets and fencing tokens rise, also across a server's clock that steps back: max(previous + 1, server time).
export const joinLua = lua`
local ttl, ago, owner = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local locks, values = math.floor((#ARGV - 4) / 3), read()
local states, holding = {}, {}

local counters = #KEYS - 4 * locks
if ARGV[5] == 'f' then
  counters = counters - 1
  local last, ends = (values[#KEYS] or ''):match('^r1:[^:]*:(%d+):(%d+):')
  local ticket = tonumber(ARGV[7])
  -- Anybody gets it for a while; later only who stood in the queue when it came.
  if last and (ends == '0' or (ticket > 0 and ticket <= tonumber(last)) or now() < tonumber(ends)) then
    -- It may stand in the queue since the result came, where the server's clock was set back.
    local state = (values[1] or ''):find('\nw ' .. ARGV[4] .. ' ', 1, true) and open(KEYS[1], values[1], values[2])
    if state then
      takeOut(state, 'w', ARGV[4])
      pass(state)
      store(state)
    end
    return {2, values[#KEYS]}
  end
end

-- Where a newcomer stands: at the end, but before all at the end who clearly asked later, and whose request was
-- only faster. Nobody passes one that stood there before it first asked.
local function newPlace(queue, asked)
  local place = #queue + 1
  while true do
    local last, theirs = queue:sub(math.max(1, place - 130), place - 1):match(
      '(\nw %S+ %S+ %d+ %d+ (%d+) [^\n]*)$')
    theirs = tonumber(theirs or 0)
    if theirs <= asked + ${askedTogether} or theirs > now() then return place end
    place = place - #last
  end
end

-- Whether there is no room for one more, also not without the dead.
local function isFull(state)
  if #state.h + #state.w < ${stateRoom} then return false end
  state.w = state.w:gsub('\nw %S+ %S+ %d+ (%d+)[^\n]*', function(alive)
    if tonumber(alive) <= now() then return '' end
  end)
  return #state.h + #state.w >= ${stateRoom}
end

-- Stands in the queue, if asked to, in the place it had. Returns ticket, place and stay; nothing if there is no room.
local function stand(state, token, mode, weight)
  if not ago then return end
  local from, _, _, alive, asked, ticket = takeOut(state, 'w', token)
  if not from then
    if isFull(state) then return end
    asked = now() - ago
    from = newPlace(state.w, asked)
    state.ticket = math.max(now(), state.ticket + 1)
    ticket, alive = state.ticket, 0
  end
  local place, before = 0, state.w:find('\nw ', 1, true)
  while before and before < from do
    place, before = place + 1, state.w:find('\nw ', before + 1, true)
  end
  local pause = math.max(${pollEvery}, math.min(${pollAtLeastEvery}, place * ${pollLaterPerPlace}))
  local stay = ${lostRequestMargin} + pause
  alive = math.max(alive, now() + stay)
  state.alive = math.max(state.alive, alive)
  local ours = line('w', token, mode, weight, alive, asked, ticket, owner)
  state.w = state.w:sub(1, from - 1) .. ours .. state.w:sub(from)
  return tonumber(ticket), place, stay
end

-- Writes what was found at a lock. Those who waited behind another library's holder have come along by then.
local function keep(i, asker)
  if values[4 * i - 1] then call('DEL', KEYS[4 * i - 1]) end
  return store(states[i], asker)
end

-- Nothing is taken; but whoever was let in on the way is told.
local function busy(i, ...)
  for before = 1, i - 1 do
    if #states[before].granted > 0 then keep(before) end
  end
  return {0, ...}
end

for i = 1, locks do
  local key, beside = KEYS[4 * i - 3], values[4 * i - 1]
  local token, mode, weight = ARGV[3 * i + 1], ARGV[3 * i + 2], ARGV[3 * i + 3]
  if values[4 * i] then return busy(i, ':', 0, 0, i) end
  local waiting = open(KEYS[4 * i - 1], beside) or open(KEYS[4 * i - 1])
  local state = open(key, values[4 * i - 3], values[4 * i - 2])
  if not state then
    local ticket, place, stay = stand(waiting, token, mode, weight)
    if ticket then write(waiting) end
    return busy(i, ':', call('PTTL', key), 1, i, ticket, place, stay)
  end
  states[i] = state
  if state.w == '' then
    state.w, state.alive = waiting.w, waiting.alive
    state.ticket = math.max(state.ticket, waiting.ticket)
  end
  local held, ourMode, ourWeight, leaseEnd, since = takeOut(state, 'h', token)
  local ticket, place, stay
  if held then
    -- It may have become a reader since it asked.
    mode, weight = ourMode, ourWeight
  else
    ticket, place, stay = stand(state, token, mode, weight)
    pass(state)
    held = takeOut(state, 'h', token)
    leaseEnd, since = 0, now()
  end
  if not held and (state.blocked or not fits(state, token, mode, weight) or isFull(state)) then
    if ticket or #state.granted > 0 then keep(i) end
    local soonest, theirs = math.huge, ''
    for ends, owner in state.h:gmatch('\nh %S+ %S+ %d+ (%d+) %d+ %d+ ([^\n]*)') do
      if tonumber(ends) < soonest then soonest, theirs = tonumber(ends), owner end
    end
    -- A paused lock may have no holder.
    if state.h == '' then soonest = now() end
    local whose = isEnded(state, token) and 2 or 0
    return busy(i, ':' .. theirs, soonest - now(), whose, i, ticket, ticket and place - state.passed, stay)
  end
  holding[i] = {token, mode, weight, math.max(leaseEnd, now() + ttl), since, owner}
end

local fence = 0
for i = 1, counters do
  fence = math.max(fence, now(), (values[4 * locks + i] or 0) + 1)
end
local reply = {1, fence}
for i = 1, locks do
  hold(states[i], unpack(holding[i]))
  reply[i + 2] = keep(i, holding[i][1])
  local counter = KEYS[4 * locks + i]
  if i <= counters then call('SET', counter, fence, 'PX', ${fenceLife}) end
end
return reply`;

/**
 * Takes all these locks or none. Idempotent.
 * On a cluster that refuses keys of several slots they are taken one after another; then there is no fencing token.
 */
export async function join(attempt: Attempt, claims: readonly Claim[]): Promise<Outcome> {
  if (attempt.settings.fencing) return askJoin(attempt, claims);
  const together = await askTogether(attempt, claims, (all) => askJoin(attempt, all));
  if (together) return together;
  const grants: Grant[] = [];
  const partsOf = () => grants.flatMap(({ parts }) => parts);
  for (const claim of claims) {
    const outcome = await askJoin(attempt, [claim]);
    if (!outcome.held) {
      if (grants.length > 0) await release(attempt, partsOf());
      return outcome;
    }
    grants.push(outcome);
  }
  const lease = Math.min(...grants.map((grant) => grant.lease));
  return { ...(grants[0] as Grant), lease, parts: partsOf() };
}

/**
 * Takes the lock, or stands in its queue for one stay more, in the place it had. Idempotent. A grant lasts as long as
 * the stay: it counts from when the last request was sent that was answered with the same ticket.
 * @param standing how many ms ago we first asked, and the ticket of our last stay, if there was one
 */
export function joinQueue(attempt: Attempt, claim: Claim, standing: Standing): Promise<Outcome> {
  return askJoin(attempt, [claim], standing);
}

/** As `joinQueue`, as the first that is asked at all: with the whole time of a request. */
export function joinQueueFirst(attempt: Attempt, claim: Claim): Promise<Outcome> {
  return askJoin(attempt, [claim], { ago: 0 }, { taking: true, confirmed: true });
}

interface Standing {
  ago: number;
  ticket?: number | undefined;
}

async function askJoin(
  attempt: Attempt,
  claims: readonly Claim[],
  { ago, ticket: before = 0 }: Partial<Standing> = {},
  asking: Asking = { taking: true, waiting: ago !== undefined, confirmed: ago === undefined },
): Promise<Outcome> {
  const { owner = "", fencing } = attempt.settings;
  const ttl = attempt.leaseNow();
  const fences = fencing ? claims.map(({ redisKey }) => `${redisKey}:fence`) : [];
  const flights = claims.filter(takesResult);
  const results = flights.map(({ redisKey }) => resultKey(redisKey));
  const keys = [...claims.flatMap(keysOf), ...fences, ...results];
  // In a state there is room for some of an owner.
  const whole = ago === undefined && !claims.some(({ value }) => isState(value));
  const asked = claims.flatMap(({ token, mode, weight }) => [token, mode, weight]);
  const args = [ttl, ago ?? "", whole ? owner : shortOwner(owner), ...asked, ...flights.map(() => before)];
  const answer = await runScript(attempt, "join", keys, args, asking);
  const { reply, sinceSent: since } = answer;
  const [held, ...rest] = Array.isArray(reply) ? reply : [];
  if (held === 1) {
    const [fence, ...values] = rest;
    const parts = claims.map((claim, i): Part => ({ claim, value: values[i] }));
    if (!parts.every(({ claim, value }) => isOurs(value, claim.token))) throw unexpected(reply);
    return granted(attempt, parts, answer, { lease: ttl, fence: fencing ? fence : undefined });
  }
  if (held === 2) return { ...busy(claims[0] as Claim), result: rest[0] };
  const [text, left, whose, which, ticket, place, stay] = rest;
  const claim = claims[which - 1];
  if (typeof text !== "string" || typeof left !== "number" || !claim) throw unexpected(reply);
  const queued = ticket === undefined ? undefined : { ticket, place, stay, since, foreign: whose === 1 };
  const ended = whose === 2;
  return { ...busy(claim, ended ? "" : text.slice(1), left, queued), ended };
}
