import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inspect, release } from "../../src/admin/index.ts";
import { type Backend, engines, freshKey, lockerAt } from "../helpers/backends.ts";

/** How often an operator ends the lock: SERVERLESS_LOCK_RELEASES=1000 for more. */
const releases = Number(process.env.SERVERLESS_LOCK_RELEASES ?? 30);

describe.each(engines)("on $engine", ({ missing, start }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await start();
    });
    afterAll(() => backend?.close());

    test("an operator that ends a lock again and again: no two work at once, and every waiter is served", async () => {
      const locker = lockerAt(backend.server, { ttl: 400, wait: "1h", renew: true });
      const key = freshKey();
      let ended = 0;
      let [inside, most, served, missed] = [0, 0, 0, 0];
      const byOperator: string[] = [];
      const worker = async () => {
        while (ended < releases) {
          // Ended before the reply came, on a slow machine: it asks again.
          const lock = await locker.acquire(key).catch(() => undefined);
          if (!lock) {
            missed++;
            continue;
          }
          inside++;
          most = Math.max(most, inside);
          served++;
          // Works until it is told to stop.
          await new Promise<void>((resolve) => {
            const stop = () => {
              inside--;
              resolve();
            };
            if (lock.signal.aborted) stop();
            else lock.signal.addEventListener("abort", stop, { once: true });
            if (ended >= releases) lock.release();
          });
          byOperator.push((lock.signal.reason as Error).message);
          await lock.release();
        }
      };
      const workers = Array.from({ length: 5 }, worker);
      const operator = (async () => {
        while (ended < releases) {
          const { holders } = await inspect(locker, key);
          if (holders.length > 0 && !holders[0]?.ended && (await release(locker, key)).released) ended++;
          else await new Promise((resolve) => setTimeout(resolve, 10));
        }
        // Who comes in last is let go.
        for (let left = 5; left > 0; left--) await release(locker, key);
      })();
      const drain = setInterval(() => ended >= releases && release(locker, key).catch(() => {}), 100);
      await Promise.all([...workers, operator]);
      clearInterval(drain);
      expect(most).toBe(1);
      expect(served + missed).toBeGreaterThanOrEqual(releases);
      const why = byOperator.filter((reason) => reason.includes("an operator"));
      expect(why.length).toBeGreaterThan(releases / 3);
      expect((await inspect(locker, key)).waiters).toEqual([]);
    }, 1_200_000);
  });
});
