import type { Redis } from "ioredis";
import {
  type Attempt,
  type Held,
  type Library,
  onlyHolder,
  onlyKey,
  type Refused,
  requestTimeout,
} from "./library.ts";
import { connectTcp, markOf, peerVersion } from "./tcp.ts";

const retryDelay = 200;

interface RedlockLock {
  value: string;
  expiration: number;
  extend(ttl: number): Promise<RedlockLock>;
  release(): Promise<unknown>;
}
interface Redlock {
  acquire(keys: string[], ttl: number, settings: { retryCount: number }): Promise<RedlockLock>;
}
interface Vote {
  votesAgainst: Map<unknown, Error>;
}

/** `redlock` 5 on one Redis over TCP, at its own pace of asking again; renewed by hand at half its lease. */
export function redlock(): Library {
  return {
    name: "redlock",
    title: "redlock",
    version: peerVersion("redlock") ?? "not installed",
    ours: false,
    transport: "tcp",
    tells: true,
    fences: false,
    kinds: ["exclusive"],
    limit: () => 2 * requestTimeout,
    lease: (ttl) => ttl,
    redisKey: (key) => key,
    holders: onlyHolder((value) => `?${markOf(value)}`),
    lifetime: (_, longestTtl) => longestTtl,
    async open({ redisUrl }) {
      // Not among the packages of the root, so that types cannot come from there.
      const module = "redlock";
      const { default: Redlock } = (await import(module)) as {
        default: new (clients: Redis[], settings: object) => Redlock;
      };
      const redis = connectTcp(redisUrl, requestTimeout);
      const locks = new Redlock([redis], { retryDelay });

      async function acquire(attempt: Attempt): Promise<Held | Refused> {
        const { wait, ttl, renew, renewed } = attempt;
        const key = onlyKey(attempt);
        let lock: RedlockLock;
        try {
          lock = await locks.acquire([key], ttl, { retryCount: Math.floor(wait / retryDelay) });
        } catch (error) {
          return refusal(error as Error & { attempts?: Promise<Vote>[] });
        }
        let timer: NodeJS.Timeout | undefined;
        const renewLater = () => {
          timer = setTimeout(async () => {
            const next = await lock.extend(ttl).catch(() => undefined);
            if (!next || !timer) return;
            lock = next;
            renewed();
            renewLater();
          }, ttl / 2);
        };
        if (renew) renewLater();
        const sure = () => lock.expiration - Date.now();
        return {
          mark: `?${markOf(lock.value)}`,
          aborted: () => sure() <= 0,
          sure,
          onAbort() {},
          async release() {
            clearTimeout(timer);
            timer = undefined;
            await lock.release();
            return true;
          },
        };
      }
      return { acquire, close: async () => redis.disconnect() };
    },
  };
}

/** It has one error for busy and for unknown; what the last votes against it were tells them apart. */
async function refusal(error: Error & { attempts?: Promise<Vote>[] }): Promise<Refused> {
  const last = await error.attempts?.at(-1);
  const votes = [...(last?.votesAgainst.values() ?? [])];
  const busy = votes.length > 0 && votes.every(({ name }) => name === "ResourceLockedError");
  return { verdict: busy ? "busy" : "unknown", why: votes.map(({ name }) => name).join() || error.name };
}
