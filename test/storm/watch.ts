import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Library } from "./libraries/library.ts";
import { type DirectorLine, now } from "./log.ts";

/** ms between two looks. */
const every = 15;

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
  type Current = Extract<DirectorLine, { what: "seen" }> & { looks: number };
  const current = new Map<string, Current>();
  const names = keys.map(library.redisKey);
  let closing = false;

  async function look(): Promise<void> {
    const sent = now();
    const [values, time] = results(await redis.multi().mget(names).time().exec());
    const got = now();
    const unsure: Promise<void>[] = [];
    for (const [i, value] of (values as (string | null)[]).entries()) {
      const key = keys[i] as string;
      const id = value === null ? undefined : library.identify(value, serverTime(time));
      const before = current.get(key);
      if (before?.id === id) {
        if (!before) continue;
        before.to = sent;
        before.looks++;
        if (before.looks === 2 || before.looks % 8 === 0) unsure.push(readEnd(before, names[i] as string));
        continue;
      }
      if (before) write(before);
      current.delete(key);
      if (id === undefined) continue;
      const seen: Current = { what: "seen", at: got, to: got, key, id, pttl: 0, read: 0, end: 0, looks: 1 };
      current.set(key, seen);
      unsure.push(readEnd(seen, names[i] as string));
    }
    await Promise.all(unsure);
  }

  /** How long it will be there, as far as is known. */
  async function readEnd(seen: Current, name: string): Promise<void> {
    const sent = now();
    const [value, left, time] = results(await redis.multi().get(name).pttl(name).time().exec());
    const at = serverTime(time);
    // Another may have it by now.
    if (typeof value !== "string" || library.identify(value, at) !== seen.id) return;
    const pttl = library.left?.(value, at) ?? (left as number);
    if (seen.looks === 1) seen.pttl = pttl;
    seen.read = sent;
    seen.end = Math.max(seen.end, now() + pttl);
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

function results(replies: [error: Error | null, result: unknown][] | null): unknown[] {
  return (replies ?? []).map(([, result]) => result);
}

/** What TIME replied, in ms. */
function serverTime(reply: unknown): number {
  const [seconds, microseconds] = reply as [string, string];
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
