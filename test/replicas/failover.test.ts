import { describe, expect, test } from "vitest";
import { type Step, startPair } from "../../bench/lib/failover.ts";
import { hasRedisServer } from "../helpers/redis-server.ts";

/** Ms between primary and replica and back. */
const lag = 200;

/** How many of five locks are lost with the primary. */
async function lost(step: Step, replicas: number): Promise<number> {
  const pair = await startPair(lag);
  const clients = ["built-in", "@upstash/redis", "built-in", "@upstash/redis", "built-in"] as const;
  let count = 0;
  for (const client of clients) if (!(await pair.failOver(step, replicas, client))) count++;
  await pair.close();
  return count;
}

describe.skipIf(!hasRedisServer)("when the primary is lost as soon as a lock is (needs redis-server)", () => {
  test.each(["taken", "handed over", "renewed"] as const)(
    "%s, the replica that confirmed it has it for as long as its holder relies on it",
    async (step) => {
      expect(await lost(step, 1)).toBe(0);
    },
  );

  test("taken, a replica that nobody asked does not have it", async () => {
    expect(await lost("taken", 0)).toBeGreaterThan(0);
  });
});
