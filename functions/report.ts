import { setTimeout } from "node:timers/promises";
import middy from "@middy/core";
import { Redis } from "@upstash/redis";
import type { ScheduledEvent } from "aws-lambda";
import lockMiddleware from "serverless-lock/middy";

/** Every night, by EventBridge, which may deliver an event twice: at once, or somewhat later. */
export const handler = middy<ScheduledEvent>()
  .use(
    lockMiddleware({
      redis: Redis.fromEnv(),
      key: "nightly-report",
      // Another run is at it: this one ends here, with null.
      ifBusy: "skip",
      // Counted from its start, a report that succeeded keeps the lock for so long: a late twin is skipped too.
      holdFor: "1h",
    }),
  )
  .handler(async (event, context) => {
    await writeReport(event.time, context.lock.signal);
    return { report: event.time };
  });

/** Stands for the real work. The signal stops it should the lock be lost. */
async function writeReport(time: string, signal: AbortSignal) {
  await setTimeout(300, undefined, { signal });
  console.log(`wrote the report of ${time}`);
}
