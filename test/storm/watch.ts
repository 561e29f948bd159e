import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Library } from "./libraries/library.ts";
import { type DirectorLine, now } from "./log.ts";

const every = 10;

/** Looks at the locks themselves, past everything that is tested. */
export interface Watch {
  /** Whose lock each key is at the moment, and since when. */
  holders(): { key: string; id: string; since: number }[];
  /** What is left of all keys, at the end. */
  leftovers(longestTtl: number): Promise<void>;
  close(): Promise<void>;
}

/** @param also called at each look, to record what else there is */
export function startWatch(
  url: string,
  library: Library,
  keys: string[],
  record: (line: DirectorLine) => void,
  also: () => void,
): Watch {
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 50,
    disableClientInfo: true,
  });
  redis.on("error", () => {});
  type Seen = Extract<DirectorLine, { what: "seen" }>;
  const current = new Map<string, Seen>();
  const names = keys.map(library.redisKey);
  let closing = false;

  async function look(): Promise<void> {
    const sent = now();
    const values = await redis.mget(names);
    const got = now();
    for (const [i, value] of values.entries()) {
      const key = keys[i] as string;
      const id = value === null ? undefined : library.identify(value);
      const before = current.get(key);
      if (before && before.id === id) {
        before.to = sent;
        continue;
      }
      if (before) record(before);
      current.delete(key);
      if (id === undefined) continue;
      const seen: Seen = { what: "seen", at: got, to: got, key, id, pttl: 0 };
      current.set(key, seen);
      seen.pttl = await redis.pttl(names[i] as string);
    }
  }

  const looking = (async () => {
    while (!closing) {
      const before = now();
      await Promise.all([look().catch(() => {}), sleep(every)]);
      const late = now() - before - every;
      if (late > 100) record({ what: "late", at: now(), ms: late });
      also();
    }
    for (const seen of current.values()) record(seen);
  })();

  return {
    holders: () => [...current.values()].map(({ key, id, at }) => ({ key, id, since: at })),
    async leftovers(longestTtl) {
      for (const name of await redis.keys("*")) {
        const pttl = await redis.pttl(name);
        // Gone by now.
        if (pttl === -2) continue;
        const most = library.lifetime(name, longestTtl);
        // Some hold a token.
        record({ what: "left", at: now(), key: name.replace(/[0-9a-f-]{36}/, "…"), pttl, most });
      }
    },
    async close() {
      closing = true;
      await looking;
      redis.disconnect();
    },
  };
}
