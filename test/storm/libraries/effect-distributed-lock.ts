import type { Redis } from "ioredis";
import { type Attempt, type Held, type Library, type Refused, requestTimeout } from "./library.ts";
import { holdersOfSet, permitOf, readSet, relyOn } from "./semaphores.ts";
import { connectTcp, peerVersion } from "./tcp.ts";

/** What is used here of packages that are not among the root's, so that types cannot come from there. */
interface Effects {
  Effect: {
    runPromise(effect: unknown, options: { signal: AbortSignal }): Promise<unknown>;
    promise(start: () => Promise<unknown>): unknown;
    provide(effect: unknown, layer: unknown): unknown;
    flatMap(effect: unknown, then: (semaphore: Semaphore) => unknown): unknown;
  };
}
interface Semaphore {
  withPermits(permits: number, options: object): (effect: unknown) => unknown;
  withPermitsIfAvailable(permits: number, options: object): (effect: unknown) => unknown;
}
interface Semaphores {
  DistributedSemaphore: { make(key: string, config: object): unknown };
  RedisBacking: { layer(redis: Redis): unknown };
}

/**
 * `effect-distributed-lock`'s semaphore over TCP: woken by messages, asking again and renewing at its own pace. Its user's
 * work is interrupted when its permits were lost; without renewal the user is taken to count one lease.
 */
export function effectDistributedLock(): Library {
  return {
    name: "effect-distributed-lock",
    title: "effect-distributed-lock",
    version: peerVersion("effect-distributed-lock") ?? "not installed",
    ours: false,
    transport: "tcp",
    tells: false,
    fences: false,
    kinds: ["permits"],
    limit: () => 2 * requestTimeout,
    lease: (ttl) => ttl,
    redisKey: (key) => `semaphore:${key}`,
    read: readSet,
    holders: holdersOfSet,
    lifetime: (_, longestTtl) => longestTtl,
    async open({ redisUrl }) {
      const names = ["effect", "effect-distributed-lock"];
      const [effect, semaphores] = await Promise.all(names.map((name) => import(name)));
      const { Effect } = effect as Effects;
      const { DistributedSemaphore, RedisBacking } = semaphores as Semaphores;
      const redis = connectTcp(redisUrl, requestTimeout);
      const backing = RedisBacking.layer(redis);

      async function acquire(attempt: Attempt): Promise<Held | Refused> {
        const { id, wait, ttl, renew } = attempt;
        const { key, limit, weight } = permitOf(attempt);
        // By itself it renews every third of a lease.
        const config = { limit, ttl, ...(!renew && { refreshInterval: 86_400_000 }) };
        const taken = Promise.withResolvers<void>();
        const done = Promise.withResolvers<void>();
        const work = Effect.promise(() => {
          taken.resolve();
          return done.promise;
        });
        const guarded = Effect.flatMap(DistributedSemaphore.make(key, config), (semaphore) =>
          (wait ? semaphore.withPermits : semaphore.withPermitsIfAvailable)(weight, { identifier: id })(work),
        );
        const giveUp = new AbortController();
        let held = true;
        let tell = (_why: string) => {};
        const run = Effect.runPromise(Effect.provide(guarded, backing), { signal: giveUp.signal });
        const over = run
          .then((): Refused => ({ verdict: "busy", why: "none" }))
          .catch((error): Refused => ({ verdict: "unknown", why: `${error}` }))
          .finally(() => {
            held = false;
          });
        const timer = wait ? setTimeout(() => giveUp.abort(), wait) : undefined;
        const timedOut = new Promise<Refused>((resolve) =>
          giveUp.signal.addEventListener("abort", () => resolve({ verdict: "busy", why: "timeout" })),
        );
        const refused = await Promise.race([taken.promise, over, timedOut]);
        clearTimeout(timer);
        if (refused) return refused;
        over.then(({ why }) => tell(why));
        return {
          ...relyOn(attempt, () => held),
          onAbort(listener) {
            tell = listener;
          },
          async release() {
            tell = () => {};
            done.resolve();
            await over;
            return undefined;
          },
        };
      }
      return { acquire, close: async () => redis.disconnect() };
    },
  };
}
