import { setTimeout } from "node:timers/promises";
import type { ScheduledEvent } from "aws-lambda";
import { lockHandler } from "serverless-lock/lambda";
import { oncePerTick } from "serverless-lock/schedule";

/**
 * Every night, by EventBridge, which may deliver an event twice: at once, or hours later. Whoever comes second is
 * skipped, with null; a report that failed lets the next delivery try again.
 */
export const handler = lockHandler(
  { ...oncePerTick("nightly-report") },
  async (event: ScheduledEvent, context) => {
    await writeReport(event.time, context.lock.signal);
    return { report: event.time };
  },
);

/** Stands for the real work. The signal stops it should the lock be lost. */
async function writeReport(time: string, signal: AbortSignal) {
  await setTimeout(300, undefined, { signal });
  console.log(`wrote the report of ${time}`);
}
