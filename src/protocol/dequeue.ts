import type { Attempt } from "./attempt.ts";
import { lua } from "./lua.ts";
import { unexpected } from "./protocol.ts";
import { runScript } from "./support.ts";

// KEYS[1] the lock  KEYS[2] the queue behind another library's lock  KEYS[3] our tombstone
// ARGV[1] our token  ARGV[2] for how many ms our tombstone stays, 0 for none
// Leaves the queue, and gives the lock to the first live waiter if it is ours. Replies 1 when it was ours, else 0.
export const dequeueLua = lua`
local token = ARGV[1]
local there, beside = unpack(call('MGET', KEYS[1], KEYS[2]))
local ours = 0
if readPlain(there or '') == token then
  call('DEL', lock)
  ours = 1
elseif there and readState(there) then
  if holder() == token then ours = 1 end
  if drop(token) then
    pass()
    write()
    tell()
  end
elseif beside and readState(beside) and drop(token) then
  lock = KEYS[2]
  write()
end
if ARGV[2] ~= '0' then call('SET', KEYS[3], 1, 'PX', ARGV[2]) end
return ours`;

/**
 * Leaves the queue, and releases the lock if it was handed over meanwhile. True if it was.
 * @param tombstoneFor for how many ms requests of ours that are on their way are to find a tombstone and do nothing
 */
export async function dequeue(attempt: Attempt, tombstoneFor: number): Promise<boolean> {
  const { redisKey, token } = attempt;
  const keys = [redisKey, `${redisKey}:queue`, `${redisKey}:gone:${token}`];
  const args = [token, tombstoneFor];
  const { reply, repeated } = await runScript(attempt, "dequeue", keys, args, { waiting: true });
  if (reply !== 0 && reply !== 1) throw unexpected(reply);
  return reply === 1 || repeated;
}

/** How long a request of ours may be on its way, in ms, and a tombstone stays for it. */
export function longestWay({ settings }: Attempt): number {
  return 4 * settings.requestTimeout;
}
