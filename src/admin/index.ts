// Looks at locks and steers them. No reply of these functions holds a token.
import type { Door, Locker } from "../api.ts";
import { withDoor } from "../door.ts";
import { LockOptionError, LockUnavailableError, show } from "../errors.ts";
import { checkNames } from "../options/rules.ts";
import { readKey, redisKey, whole } from "../options/targets.ts";
import { unexpected } from "../protocol/protocol.ts";
import { askAll, evaluate } from "../protocol/support.ts";
import { withoutTokens } from "../unavailable.ts";
import { type Inspection, type Look, lookKeys, readLook, shown } from "./look.ts";
import { type AdminOperation, adminScript } from "./script.ts";

export type { Holder, Inspection, Waiter } from "./look.ts";

/** What of `list` to show. */
export interface ListOptions {
  /** Only keys that begin with it. @default "" */
  prefix?: string | undefined;
  /** What the page before said; none for the first one. */
  cursor?: string | undefined;
  /** About how many keys of Redis a page looks at, 1 to 1000. @default 100 */
  count?: number | undefined;
}

/** What became of the locks that were ended. */
export interface Released {
  /** False if nobody held it, or if another library's lock was left alone. */
  released: boolean;
  /** In ms, by when those that were ended are gone. Undefined for another library's lock that ends by itself never. */
  freeWithin: number | undefined;
}

/**
 * Who holds a lock and who waits for it. One request; 3 billed commands, or 4 behind another library's lock that is
 * waited for.
 * @throws LockUnavailableError
 */
export async function inspect(locker: Locker, key: string): Promise<Inspection> {
  const door = doorOf(locker);
  const [look] = await lookAt(door, [readKey(key)]);
  return shown(look as Look);
}

/**
 * A page of the locks there are: those that are held, waited for, or that an operator has steered. Some may be missing
 * that come or go meanwhile. A page may be empty, though it is not the last one.
 * @returns no cursor at the end
 * @throws LockUnavailableError
 */
export async function list(
  locker: Locker,
  options: ListOptions = {},
): Promise<{ locks: Inspection[]; cursor: string | undefined }> {
  const door = doorOf(locker);
  checkNames(options, ["prefix", "cursor", "count"]);
  const { prefix = "", cursor = "0", count = 100 } = options;
  if (typeof prefix !== "string") throw new LockOptionError("prefix", show(prefix), "a text");
  if (typeof cursor !== "string" || !/^\d{1,20}$/.test(cursor))
    throw new LockOptionError("cursor", show(cursor), "what list gave");
  const size = whole("count", count, 1000);
  const page = await door.ask(prefix, ["SCAN", cursor, "MATCH", patternOf(door, prefix), "COUNT", size]);
  const [next, names] = Array.isArray(page) ? page : [];
  if (!Array.isArray(names)) throw new LockUnavailableError(prefix, unexpected(page));
  const found = names.flatMap((name) => lockOf(door, `${name}`) ?? []);
  const keys = [...new Set(found.map(({ key }) => key))];
  const locks: Inspection[] = [];
  for (let from = 0; from < keys.length; from += mostAtOnce)
    for (const look of await lookAt(door, keys.slice(from, from + mostAtOnce))) {
      // A lock that has a key is on the page of that key.
      const own = found.some(({ key, beside }) => key === look.key && !beside);
      if (look.there ? own : look.limit !== undefined || look.paused) locks.push(shown(look));
    }
  return { locks, cursor: `${next}` === "0" ? undefined : `${next}` };
}

/**
 * Ends a lock: all holders that it finds, and no later one. Their renewal is refused from now on, so that each is gone
 * after at most one lease and no two overlap; what is kept by `holdFor` ends at once. Who waits comes in then.
 * `now: true` ends them at once, another library's holder too: until a holder asks again, two may work.
 * @throws LockUnavailableError
 */
export async function release(
  locker: Locker,
  key: string,
  options: { now?: boolean | undefined } = {},
): Promise<Released> {
  const door = doorOf(locker);
  const name = readKey(key);
  checkNames(options, ["now"]);
  const { now = false } = options;
  if (typeof now !== "boolean") throw new LockOptionError("now", show(now), "true or false");
  const [{ foreign, holders }] = (await lookAt(door, [name])) as [Look];
  if (foreign !== undefined && !now) return { released: false, freeWithin: foreign.left };
  const named = foreign ? [`=${foreign.value}`] : holders.map(({ token }) => token);
  if (named.length === 0) return { released: false, freeWithin: 0 };
  const freeWithin = await steer(door, name, "finish", [now ? "now" : "safe", ...named], named);
  return { released: true, freeWithin };
}

/**
 * How many permits there are from now on, in place of the callers' own limits; undefined takes it back. It holds until
 * then. Exclusive locks and readers ignore it. A weight above it counts as it.
 * @throws LockOptionError @throws LockUnavailableError
 */
export async function setLimit(locker: Locker, key: string, limit: number | undefined): Promise<void> {
  if (limit === 0) throw new LockOptionError("limit", "0", "1 or more; pause lets nobody in");
  const set = limit === undefined ? "" : whole("limit", limit, 100_000);
  await steer(doorOf(locker), readKey(key), "steer", [set, "-"]);
}

/**
 * Lets nobody in until `unpause`. Who holds the lock goes on and may renew it, who waits waits. While another library's
 * value is at the key, it cannot keep a plain lock from following that.
 * @throws LockUnavailableError
 */
export async function pause(locker: Locker, key: string): Promise<void> {
  await steer(doorOf(locker), readKey(key), "steer", ["-", "1"]);
}

/** Ends a pause. Who waits comes in, as far as there is room. @throws LockUnavailableError */
export async function unpause(locker: Locker, key: string): Promise<void> {
  await steer(doorOf(locker), readKey(key), "steer", ["-", ""]);
}

/** How many locks one script looks at. Lua takes no more than some 8,000 values at once. */
const mostAtOnce = 500;

function doorOf(locker: Locker): Door {
  return withDoor(locker).run((door) => door);
}

/** Locks as they are in Redis. On a cluster each is asked about by itself. */
async function lookAt(door: Door, keys: readonly string[]): Promise<Look[]> {
  const looks = await askAll(door, keys, async (some) => {
    const names = some.flatMap((key) => lookKeys(door.redisKey(key)));
    const reply = await runAdmin(door, some[0] as string, "look", names, []);
    if (!Array.isArray(reply) || reply.length !== some.length + 1)
      throw new LockUnavailableError(some[0] as string, unexpected(reply));
    const [time, ...each] = reply;
    return some.map((key, i) => readLook(key, each[i], time));
  });
  return looks.flat();
}

async function steer(
  door: Door,
  key: string,
  operation: AdminOperation,
  args: (string | number)[],
  tokens?: readonly string[],
) {
  const keys = lookKeys(door.redisKey(key)).slice(0, 3);
  const reply = await runAdmin(door, key, operation, keys, args, tokens);
  if (typeof reply !== "number") throw new LockUnavailableError(key, unexpected(reply));
  return reply;
}

async function runAdmin(
  door: Door,
  key: string,
  operation: AdminOperation,
  keys: readonly string[],
  args: readonly (string | number)[],
  tokens: readonly string[] = [],
): Promise<unknown> {
  try {
    const { reply } = await evaluate({ ...door, abandoned: [] }, adminScript(), keys, [...args, operation]);
    return reply;
  } catch (error) {
    // On a cluster it is asked again, lock by lock.
    if (keys.length > 4 && /^CROSSSLOT/.test((error as Error).message)) throw error;
    throw new LockUnavailableError(key, withoutTokens(error, tokens));
  }
}

const beside = ":operator";

/** Undefined for a key that is not a lock's own, and not an operator's. */
function lockOf(door: Door, name: string): { key: string; beside: boolean } | undefined {
  const { prefix } = door.settings;
  const own = name.endsWith(beside) ? name.slice(0, -beside.length) : name;
  const inside = own.slice(prefix.length);
  const key = inside.startsWith("{:}") && inside.endsWith(":") ? inside.slice(3, -1) : inside.slice(1, -1);
  return key && redisKey(prefix, key) === own ? { key, beside: own !== name } : undefined;
}

/** What finds the locks whose keys begin with a text, and little else. */
function patternOf({ settings }: Door, start: string): string {
  const escaped = (text: string) => text.replace(/[[\]*?\\^]/g, "\\$&");
  // A longer key without its own end.
  return `${escaped(redisKey(settings.prefix, `${start}x`).slice(0, -2))}*`;
}
