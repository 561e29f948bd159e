import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Redis } from "@upstash/redis";
import * as admin from "../../../src/admin/index.ts";
import {
  createLocker,
  type Lock,
  LockBusyError,
  LockLostError,
  type LockOptions,
  LockUnavailableError,
  type Target,
} from "../../../src/index.ts";
import { readResult } from "../../../src/protocol/deliver.ts";
import { decodePlain, decodeState } from "../../../src/protocol/state.ts";
import { singleFlight } from "../../../src/single-flight/index.ts";
import { decodeResult } from "../../../src/single-flight/result.ts";
import type { Claim } from "../log.ts";
import { kindNames, longestKept } from "../settings.ts";
import {
  type Attempt,
  type Held,
  type Landed,
  type Library,
  type Made,
  onlyKey,
  type Refused,
  requestTimeout,
  upstashGivesUp,
} from "./library.ts";

/** What the storm uses of this package, or of a variant. */
const source = { createLocker, admin, singleFlight };

const manifest = new URL("../../../package.json", import.meta.url);

/** One of a variant may have nothing but `createLocker`. */
async function load(variant: string | undefined): Promise<typeof source> {
  return variant
    ? { ...source, ...((await import(pathToFileURL(variant).href)) as Partial<typeof source>) }
    : source;
}

/** This package; or a variant of it, by the path of a module that exports `createLocker`. */
export function serverlessLock(variant?: string, title = "serverless-lock"): Library {
  return {
    name: variant ?? title,
    title,
    version: (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version,
    ours: true,
    transport: "http",
    tells: true,
    fences: true,
    kinds: kindNames,
    limit: (client) => (throughUpstash(client) ? upstashGivesUp : 2 * requestTimeout),
    // Who waits may stand in the queue without knowing, after a lost reply: then a grant lasts its stay.
    lease: (ttl, wait) => (wait > 0 ? Math.max(ttl, grantOf(0)) : ttl),
    redisKey: (key) => `lock:{${key}}`,
    holders(value, now) {
      if (typeof value !== "string") return [];
      const plain = decodePlain(value);
      const held = decodeState(value)?.holders.filter(({ until }) => until > now) ?? [];
      return plain
        ? [{ id: plain.owner }]
        : held.map(({ owner, until, token }) => ({
            id: owner,
            left: until - now,
            ended: token.endsWith(".ended"),
          }));
    },
    results: {
      redisKey: (key) => `lock:{${key}}:result`,
      run(value) {
        const text = readResult(value);
        return text === undefined ? undefined : (decodeResult(text).value as Made).run;
      },
    },
    lifetime(redisKey, longestTtl) {
      const [, kind = ""] = /^lock:\{[^}]*\}:?([a-z]*)/.exec(redisKey) ?? [];
      // A grant may last longer than a lease, and a mark of having left four requests' limits.
      const most: Record<string, number> = {
        "": Math.max(longestTtl, grantOf(25)),
        waiters: grantOf(25),
        gone: 4 * requestTimeout,
        fence: 86_400_000,
        // Those who wait find it for as long as they count as alive.
        result: Math.max(longestKept, grantOf(25)),
        // Marks of holders that an operator ended at once.
        operator: Math.max(longestTtl, grantOf(25)),
      };
      return redisKey.startsWith("lock:{") ? most[kind] : undefined;
    },
    async open({ url, token }, client) {
      const { createLocker, singleFlight } = await load(variant);
      const locker = throughUpstash(client)
        ? createLocker({ redis: new Redis({ url, token }), requestTimeout })
        : createLocker({ url, token, requestTimeout });
      return {
        async acquire(attempt) {
          try {
            return heldOf(await locker.acquire(attempt.claims.map(targetOf), optionsOf(attempt)));
          } catch (error) {
            return refusedBy(error);
          }
        },
        async share(attempt, { keepFor, unkept }, work): Promise<Landed> {
          const failures = new Set<unknown>();
          try {
            const options = { ...optionsOf(attempt), keepFor, onError: (error: Error) => unkept(`${error}`) };
            const made = await singleFlight(locker, onlyKey(attempt), options, (lock) =>
              work(heldOf(lock)).catch((error) => {
                failures.add(error);
                throw error;
              }),
            );
            return { made };
          } catch (error) {
            if (failures.has(error)) return { failed: `${error}` };
            const lost = error instanceof Error && error.name === LockLostError.name;
            return lost ? { lost: `${error}` } : refusedBy(error);
          }
        },
        close: async () => {},
      };
    },
    async operator({ url, token }) {
      const { createLocker, admin } = await load(variant);
      const locker = createLocker({ url, token, requestTimeout });
      return {
        release: (key, options) =>
          ifKnown(admin.release(locker, key, options).then(({ released }) => released)),
        pause: (key, on) => ifKnown((on ? admin.pause : admin.unpause)(locker, key).then(() => true)),
        limit: (key, limit) => ifKnown(admin.setLimit(locker, key, limit).then(() => true)),
      };
    },
  };
}

function optionsOf(attempt: Attempt): LockOptions {
  const { id, wait, ttl, renew, fenced } = attempt;
  return {
    owner: id,
    wait,
    ttl,
    renew,
    fencing: fenced,
    onEvent(event) {
      if (event.type === "waiting") attempt.waiting(grantOf(event.place));
      if (event.type === "renewed") attempt.renewed();
    },
  };
}

function heldOf(lock: Lock): Held {
  return {
    fence: lock.fence,
    aborted: () => lock.signal.aborted,
    sure: () => lock.remaining,
    onAbort: (tell) => lock.signal.addEventListener("abort", () => tell(`${lock.signal.reason}`)),
    downgrade: () => lock.downgrade(),
    release: () => lock.release(),
  };
}

/** A variant's errors are of other classes. */
function refusedBy(error: unknown): Refused {
  if (error instanceof Error && error.name === LockBusyError.name)
    return { verdict: "busy", owner: (error as LockBusyError).owner, why: error.name };
  const known = error instanceof Error && error.name === LockUnavailableError.name;
  return { verdict: known ? "unknown" : "error", why: `${known ? error.cause : error}` };
}

/** Undefined if Redis could not be asked. */
async function ifKnown<T>(answer: Promise<T>): Promise<T | undefined> {
  return answer.catch((error) => {
    if (error.name !== LockUnavailableError.name) throw error;
    return undefined;
  });
}

function targetOf({ key, mode, limit, weight }: Claim): Target {
  if (mode === "permit") return { key, limit, weight };
  return mode === "shared" ? { key, mode } : key;
}

/** Every second client asks through an `@upstash/redis` instance, on the same keys. */
function throughUpstash(client: string): boolean {
  return Number(client.slice(1)) % 2 === 0;
}

/** ms a grant lasts for whoever asked last with so many waiters before it. */
function grantOf(place: number): number {
  return 2500 + Math.max(1250, Math.min(6250, place * 250));
}
