import { type FencedLock, fenceOf } from "./lock.ts";

/** What makes a script one that a later holder's write keeps out. */
export interface FencedScript {
  /** Stands in front of the script. */
  prefix: string;
  /** Stand behind the script's own keys: `fence:{<key>}` for each of the lock's keys. */
  keys: string[];
  /** Stand behind the script's own arguments. */
  args: string[];
}

/**
 * What makes a script fail before its first line, with an error that begins with `STALEFENCE`, if a later holder has
 * written. It keeps the token at a key of its own for each of the lock's keys, which must not expire. On a cluster a
 * script's keys lie in one slot: those that it writes need the tag `{<key>}`.
 * @throws TypeError for a lock that was not taken with `fencing: true`
 *
 * @example
 * const { prefix, keys, args } = redisFence(lock);
 * const script = `${prefix} return redis.call("INCRBY", KEYS[1], ARGV[1])`;
 * await redis.eval(script, ["balance", ...keys], ["100", ...args]);
 */
export function redisFence(lock: FencedLock): FencedScript {
  const fence = fenceOf(lock);
  const first = `#KEYS - ${lock.keys.length - 1}`;
  return {
    // All are read before one is written.
    prefix: `for i = ${first}, #KEYS do
  if tonumber(redis.call("GET", KEYS[i]) or 0) > tonumber(ARGV[#ARGV]) then
    return redis.error_reply("STALEFENCE A later holder has written")
  end
end
for i = ${first}, #KEYS do redis.call("SET", KEYS[i], ARGV[#ARGV]) end
`,
    keys: lock.keys.map((key) => `fence:{${key}}`),
    args: [`${fence}`],
  };
}

/**
 * A whole script that sets a key to a value, unless a later holder has written.
 * @throws TypeError for a lock that was not taken with `fencing: true`
 *
 * @example
 * const { script, keys, args } = fencedSet(lock, "balance", "100");
 * await redis.eval(script, keys, args);
 */
export function fencedSet(lock: FencedLock, key: string, value: string) {
  const { prefix, keys, args } = redisFence(lock);
  return {
    script: `${prefix}return redis.call("SET", KEYS[1], ARGV[1])`,
    keys: [key, ...keys],
    args: [value, ...args],
  };
}
