import { Redis } from "@upstash/redis";
import { createLocker, type Lock, type Locker } from "serverless-lock";
import { startDevServer } from "serverless-lock/dev";
import { isHeldBy } from "../../src/protocol/state.ts";
import { type RunningRedis, startRedis } from "../../test/helpers/redis-server.ts";
import { primaryArgs, type Replica, startReplica } from "../../test/helpers/replicas.ts";
import { startSlowTcp } from "./slow-tcp.ts";

/** What was answered when the primary died. */
export type Step = "taken" | "handed over" | "renewed";

/** A primary with a replica that follows it some ms later. After each failover it is the replica's turn. */
export async function startPair(lag: number) {
  let primary: RunningRedis = await startRedis({ args: primaryArgs });
  let link = await startSlowTcp(primary.url, lag);
  let replica: Replica = await startReplica(Number(new URL(link.url).port));
  let promoted: Replica | undefined;
  let names = 0;

  return {
    /**
     * Takes a lock, kills the primary once that is answered, and promotes the replica. Whether that has the lock, for as
     * long as its holder relies on it.
     */
    async failOver(step: Step, replicas: number, client: "built-in" | "@upstash/redis"): Promise<boolean> {
      const key = `failover-${++names}`;
      const server = await startDevServer({ redis: primary.url });
      const { url, token } = server;
      const place = client === "built-in" ? { url, token } : { redis: new Redis({ url, token }) };
      const lock = await steps[step](createLocker({ ...place, replicas, ttl: "1m" }), key);
      // With it goes what it had not sent, and what is on its way in the link.
      process.kill(primary.pid, "SIGKILL");
      await primary.close();
      await replica.promote();
      const redisKey = `lock:{${key}}`;
      const [value, left] = await Promise.all([replica.raw.get(redisKey), replica.raw.pttl(redisKey)]);
      const kept = isHeldBy(value ?? "", lock.token) && left >= lock.remaining;
      await Promise.all([link.close(), server.close(), promoted?.raw.disconnect()]);
      primary = promoted = replica;
      link = await startSlowTcp(primary.url, lag);
      replica = await startReplica(Number(new URL(link.url).port));
      return kept;
    },
    async close() {
      await replica.close();
      await link.close();
      await primary.close();
    },
  };
}

const steps: Record<Step, (locker: Locker, key: string) => Promise<Lock>> = {
  taken: (locker, key) => locker.acquire(key),
  async "handed over"(locker, key) {
    const holder = await locker.acquire(key);
    const stands = Promise.withResolvers<void>();
    const waiter = locker.acquire(key, {
      wait: "1m",
      onEvent: ({ type }) => type === "waiting" && stands.resolve(),
    });
    await stands.promise;
    await holder.release();
    return waiter;
  },
  async renewed(locker, key) {
    const lock = await locker.acquire(key, { ttl: "10s" });
    if (!(await lock.extend("1m"))) throw new Error("the lock was lost before the failover");
    return lock;
  },
};
