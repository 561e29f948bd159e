import { readFileSync } from "node:fs";
import { Lock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { now } from "../log.ts";
import { type Library, onlyHolder, onlyKey, requestTimeout, upstashGivesUp } from "./library.ts";

const manifest = new URL("../../../node_modules/@upstash/lock/package.json", import.meta.url);
const delay = 100;

/**
 * `@upstash/lock` over the same HTTP, with its own pace of asking again. It says nothing of a lock's validity: its user
 * is taken to count the lease from when `acquire()` said true, on a clock that nobody sets, and to stop then.
 */
export function upstashLock(): Library {
  return {
    name: "@upstash/lock",
    title: "@upstash/lock",
    version: (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version,
    ours: false,
    transport: "http",
    tells: false,
    fences: false,
    kinds: ["exclusive"],
    limit: () => upstashGivesUp,
    lease: (ttl) => ttl,
    redisKey: (key) => key,
    holders: onlyHolder((value) => value),
    lifetime: (_, longestTtl) => longestTtl,
    async open({ url, token }) {
      // By itself that client waits for ever.
      const signal = () => AbortSignal.timeout(requestTimeout);
      const redis = new Redis({ url, token, signal, enableAutoPipelining: false });
      return {
        async acquire(attempt) {
          const { id, wait, ttl } = attempt;
          const key = onlyKey(attempt);
          const lock = new Lock({ id: key, redis: redis as never, lease: ttl });
          const retry = { attempts: 1 + Math.floor(wait / delay), delay };
          let taken: boolean;
          try {
            taken = await lock.acquire({ uuid: id, retry });
          } catch (error) {
            return { verdict: "unknown", why: `${(error as Error).name}` };
          }
          if (!taken) return { verdict: "busy", why: "false" };
          const since = now();
          const sure = () => since + ttl - now();
          return { aborted: () => sure() <= 0, sure, onAbort() {}, release: () => lock.release() };
        },
        close: async () => {},
      };
    },
  };
}
