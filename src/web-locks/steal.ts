import type { Door } from "../api.ts";
import { LockUnavailableError } from "../errors.ts";
import { lua } from "../protocol/lua.ts";
import { decodePlain, decodeState, encodeState, isHeldBy } from "../protocol/state.ts";
import { evaluate } from "../protocol/support.ts";
import { withoutTokens } from "../unavailable.ts";

// KEYS[1] the lock  [2] our tombstone
// ARGV[1] its value as it was seen  [2] its next value  [3] the life of that in ms
// Replies 1 when the value was still the one that was seen. A steal that was given up changes nothing any more.
export const swapScript = () => lua`
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

/** The name of the script's operation, for the model in memory. */
export type StealOperation = "swap";
const operation: StealOperation = "swap";

/** What came of a steal. `"gone"`: what was seen there has changed, or nobody holds it. */
export type Theft = "stolen" | "gone" | "foreign" | "paused";

/**
 * Puts a holder with our token in the place of all holders. The queue stays as it is. Asked again, it does nothing: the
 * value that was seen is there no more.
 * @throws LockUnavailableError
 */
export async function steal(door: Door, key: string, token: string, owner: string): Promise<Theft> {
  const { settings } = door;
  const lock = door.redisKey(key);
  const seen = await readText(door, key, lock);
  if (seen === undefined) return "gone";
  const state = decodePlain(seen) ? { ticket: 0, until: 0, waiters: [] } : decodeState(seen);
  if (!state) return "foreign";
  if (/^\d*:1:/.test((await readText(door, key, `${lock}:operator`)) ?? "")) return "paused";
  const now = readTime(key, await door.ask(key, ["TIME"]));
  const holder = { token, mode: "x", weight: 1, until: now + settings.ttl, since: now, ticket: 0, owner };
  const next = encodeState({ ...state, holders: [holder] });
  const life = Math.max(settings.ttl, state.until - now);
  return (await swap(door, key, token, [seen, next, life, operation])) || (await isOurs(door, key, token))
    ? "stolen"
    : "gone";
}

async function swap(door: Door, key: string, token: string, args: (string | number)[]): Promise<boolean> {
  const asker = { ...door, abandoned: [] };
  try {
    const keys = [door.redisKey(key), tombstone(door, key, token)];
    return (await evaluate(asker, swapScript(), keys, args)).reply === 1;
  } catch (error) {
    throw new LockUnavailableError(key, withoutTokens(error, args.map(String)));
  }
}

/** Gives a steal up: a request of it that is still on its way changes nothing. */
export async function giveUpSteal(door: Door, key: string, token: string): Promise<void> {
  const { requestTimeout } = door.settings;
  // As long as such a request may be on its way.
  await door.ask(key, ["SET", tombstone(door, key, token), "1", "PX", 4 * requestTimeout]);
}

function tombstone(door: Door, key: string, token: string): string {
  return `${door.redisKey(key)}:gone:${token}`;
}

/** Whether a request did it whose reply was lost. */
async function isOurs(door: Door, key: string, token: string): Promise<boolean> {
  return isHeldBy((await readText(door, key, door.redisKey(key))) ?? "", token);
}

async function readText(door: Door, key: string, name: string): Promise<string | undefined> {
  const reply = await door.ask(key, ["GET", name]);
  if (reply === null) return undefined;
  if (typeof reply === "string") return reply;
  throw new LockUnavailableError(key, new Error(`no reply to GET: ${typeof reply}`));
}

/** The server's time in ms. */
function readTime(key: string, reply: unknown): number {
  const [seconds, micros] = Array.isArray(reply) ? reply.map(Number) : [];
  const ms = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  if (Number.isSafeInteger(ms)) return ms;
  throw new LockUnavailableError(key, new Error(`no reply to TIME: ${typeof reply}`));
}
