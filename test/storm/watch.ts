import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Library } from "./libraries/library.ts";
import { type DirectorLine, now } from "./log.ts";

/** ms between two looks. */
const every = 15;

/** Looks at the locks themselves, past everything that is tested. */
export interface Watch {
  /** Who holds each key at the moment, and since when. */
  holders(): { key: string; id: string; since: number }[];
  /** What is left of all keys, at the end. */
  leftovers(longestTtl: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * @param results where to look for results, too
 * @param also called at each look, to record what else there is
 */
export function startWatch(
  url: string,
  library: Library,
  keys: string[],
  results: Library["results"],
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
  type Current = Extract<DirectorLine, { what: "seen" }> & { looks: number };
  /** By key and holder. */
  const current = new Map<string, Current>();
  const read = library.read ?? ((commands, name) => commands.get(name));
  /** Whose result each key has. */
  const stored = new Map<string, string | undefined>();
  let lookedAt = 0;
  let closing = false;

  async function look(): Promise<void> {
    const sent = now();
    const all = redis.multi();
    for (const key of keys) read(all, library.redisKey(key));
    if (results) for (const key of keys) all.get(results.redisKey(key));
    const replies = repliesOf(await all.time().exec());
    const time = serverTime(replies.pop());
    const got = now();
    if (results) noteResults(replies.splice(keys.length), results, got);
    lookedAt = got;
    const unsure = new Set<string>();
    const there = new Set<string>();
    for (const [i, value] of replies.entries()) {
      const key = keys[i] as string;
      for (const { id, ended } of library.holders(value, time)) {
        const name = `${key} ${id}`;
        there.add(name);
        const before = current.get(name);
        if (before) {
          before.to = sent;
          if (ended) before.ended ??= got;
          before.looks++;
          if (before.looks === 2 || before.looks % 8 === 0) unsure.add(key);
        } else {
          current.set(name, {
            what: "seen",
            at: got,
            to: got,
            key,
            id,
            pttl: 0,
            read: 0,
            end: 0,
            ended: ended ? got : undefined,
            looks: 1,
          });
          unsure.add(key);
        }
      }
    }
    for (const [name, seen] of current) {
      if (there.has(name)) continue;
      write({ ...seen, gone: got });
      current.delete(name);
    }
    await Promise.all([...unsure].map(readEnds));
  }

  function noteResults(values: unknown[], { run }: NonNullable<Library["results"]>, at: number): void {
    for (const [i, key] of keys.entries()) {
      const value = values[i];
      const id = typeof value === "string" ? run(value) : undefined;
      if (id && id !== stored.get(key)) record({ what: "stored", at, before: lookedAt, key, id });
      stored.set(key, id);
    }
  }

  /** How long its holders will be there, as far as is known. */
  async function readEnds(key: string): Promise<void> {
    const sent = now();
    const name = library.redisKey(key);
    const all = redis.multi();
    read(all, name);
    const [value, life, time] = repliesOf(await all.pttl(name).time().exec());
    for (const { id, left } of library.holders(value, serverTime(time))) {
      const seen = current.get(`${key} ${id}`);
      // Another may have it by now.
      if (!seen) continue;
      const pttl = left ?? (life as number);
      if (seen.read === 0) seen.pttl = pttl;
      seen.read = sent;
      seen.end = Math.max(seen.end, now() + pttl);
    }
  }

  function write({ looks, ...seen }: Current): void {
    record(seen);
  }

  const looking = (async () => {
    while (!closing) {
      const before = now();
      await Promise.all([look().catch(() => {}), sleep(every)]);
      const late = now() - before - every;
      if (late > 100) record({ what: "late", at: now(), ms: late });
      also();
    }
    for (const seen of current.values()) write(seen);
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
        record({ what: "left", at: now(), key: name.replace(/[0-9a-f]{32}/, "…"), pttl, most });
      }
    },
    async close() {
      closing = true;
      await looking;
      redis.disconnect();
    },
  };
}

function repliesOf(replies: [error: Error | null, result: unknown][] | null): unknown[] {
  return (replies ?? []).map(([, result]) => result);
}

/** What TIME replied, in ms. */
function serverTime(reply: unknown): number {
  const [seconds, microseconds] = reply as [string, string];
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
