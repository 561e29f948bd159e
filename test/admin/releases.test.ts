import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inspect, release } from "../../src/admin/index.ts";
import { type Locker, LockUnavailableError } from "../../src/index.ts";
import { type Backend, engines, freshKey, lockerAt } from "../helpers/backends.ts";

/** How often an operator ends each lock: SERVERLESS_LOCK_RELEASES=500 for 1,000 in all. */
const releases = Number(process.env.SERVERLESS_LOCK_RELEASES ?? 8);
const locks = 2;
const workersEach = 3;

describe.each(engines)("on $engine", ({ missing, start }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await start();
    });
    afterAll(() => backend?.close());

    test("an operator that ends locks again and again: no two work at once, and every waiter is served", async () => {
      const locker = lockerAt(backend.server, { ttl: 400, wait: "1h", renew: true });
      const all = await Promise.all(
        Array.from({ length: locks }, () => endAgainAndAgain(locker, freshKey())),
      );
      const sum = (name: keyof Seen) => all.reduce((total, each) => total + each[name], 0);
      console.log(
        `${sum("ended")} releases: ${sum("served")} served, ${sum("told")} told that an operator ended it`,
      );
      expect(sum("ended")).toBe(locks * releases);
      expect(sum("overlaps")).toBe(0);
      expect(sum("unserved")).toBe(0);
      expect(sum("served") + sum("unknown")).toBeGreaterThanOrEqual(sum("ended"));
      // On a slow machine a lease ends before it is renewed.
      expect(sum("told")).toBeGreaterThan(0);
    }, 1_800_000);
  });
});

interface Seen {
  ended: number;
  served: number;
  told: number;
  overlaps: number;
  unserved: number;
  /** Who was told that nothing is known: on a slow machine a lease may end before the reply. */
  unknown: number;
}

/** Some who want a lock all the time, and work until they are told to stop; and an operator who ends it. */
async function endAgainAndAgain(locker: Locker, key: string): Promise<Seen> {
  const seen: Seen = { ended: 0, served: 0, told: 0, overlaps: 0, unserved: 0, unknown: 0 };
  let inside = 0;
  const over = Promise.withResolvers<void>();
  const isOver = () => seen.ended >= releases;

  async function work(): Promise<void> {
    while (!isOver()) {
      const lock = await locker.acquire(key).catch((error) => {
        seen[error instanceof LockUnavailableError ? "unknown" : "unserved"]++;
      });
      if (!lock) continue;
      inside++;
      seen.served++;
      if (inside > 1) seen.overlaps++;
      const stopped = new Promise<void>((resolve) => {
        const stop = () => {
          inside--;
          resolve();
        };
        if (lock.signal.aborted) stop();
        else lock.signal.addEventListener("abort", stop, { once: true });
      });
      over.promise.then(() => lock.release()).catch(() => {});
      await stopped;
      if (`${lock.signal.reason}`.includes("an operator")) seen.told++;
      await lock.release().catch(() => {});
    }
  }

  async function operate(): Promise<void> {
    while (!isOver()) {
      try {
        const { holders } = await inspect(locker, key);
        if (holders.some(({ ended }) => !ended)) seen.ended += Number((await release(locker, key)).released);
      } catch (error) {
        // A machine with other work is slow at times.
        if (!(error instanceof LockUnavailableError)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    over.resolve();
  }

  await Promise.all([...Array.from({ length: workersEach }, work), operate()]);
  return seen;
}
