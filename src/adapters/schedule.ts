import type { Duration } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { milliseconds } from "../options/durations.ts";
import { checkNames } from "../options/rules.ts";
import { readKey } from "../options/targets.ts";

export interface TickOptions {
  /**
   * How far apart the ticks are, for a trigger that does not say which tick it is for, such as a cron of Vercel:
   * then the tick is the one nearest to the clock. 1 s to 31 days.
   */
  period?: Duration | undefined;
  /** Where the ticks lie: so long after midnight UTC, and every period before and after that. @default 0 */
  offset?: Duration | undefined;
  /** For how long a tick that succeeded is not run again, counted from its start. @default "25h" */
  holdFor?: Duration | undefined;
}

/** What names a tick: that of EventBridge's rules and its Scheduler, a Worker's, and that of Vercel's Schedules. */
export interface Tick {
  time?: unknown;
  scheduledTime?: unknown;
  scheduledAt?: unknown;
}

/** EventBridge delivers again for up to 24 hours. */
const longestRedelivery = "25h";

/**
 * The options that make a task run once for each tick of its schedule, to be spread into those of any adapter but for batches: a
 * lock for each tick, kept after a success; whoever comes second is skipped. A run that failed lets the next
 * delivery in at once, one that crashed after one lease (`ttl`).
 * @param name of the task, in front of the tick in the key
 *
 * @example
 * export const handler = lockHandler({ ...oncePerTick("report") }, async (event: ScheduledEvent, context) =>
 *   writeReport(event.time, context.lock.signal),
 * );
 * export const GET = lockFetch({ ...oncePerTick("report", { period: "1d", offset: "2h" }) }, writeReport);
 *
 * @throws LockOptionError
 */
export function oncePerTick(name: string, options: TickOptions = {}) {
  checkNames(options, ["period", "offset", "holdFor"]);
  const { period, offset = 0, holdFor = longestRedelivery } = options;
  // With the tick behind it, too.
  readKey(`${readKey(name)}@${iso(0)}`);
  readDuration("holdFor", holdFor, "0s");
  const every = period === undefined ? undefined : readDuration("period", period, "1s");
  const from = readDuration("offset", offset, "0s");
  if (options.offset !== undefined && !every)
    throw new LockOptionError(
      "offset",
      "one without a period",
      "a period beside it: it says where those ticks lie",
    );
  return {
    key: (trigger: unknown): string => `${name}@${tickOf(trigger, every, from)}`,
    holdFor,
    ifBusy: "skip" as const,
  };
}

/** The tick a trigger is for, in ISO format. */
function tickOf(trigger: unknown, period: number | undefined, offset: number): string {
  const { time, scheduledTime, scheduledAt } = Object(trigger) as Tick;
  const said = new Date(inUtc(scheduledTime ?? scheduledAt ?? time) as string | number | Date).getTime();
  if (said > 0) return iso(said);
  if (period === undefined) {
    throw new LockOptionError(
      "period",
      "a trigger without a time",
      "how far apart the ticks are, or an event with a time, scheduledTime or scheduledAt",
    );
  }
  return iso(Math.round((Date.now() - offset) / period) * period + offset);
}

/** A time without a zone is one of UTC: that of the process may skip an hour of the year, and differ from the next one's. */
function inUtc(time: unknown): unknown {
  return typeof time === "string" && /^\d{4}-\d\d-\d\d[T ][\d:.]+$/.test(time) ? `${time}Z` : time;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function readDuration(option: string, value: unknown, least: string): number {
  const ms = milliseconds(value);
  if (ms >= milliseconds(least) && ms <= milliseconds("31d")) return ms;
  throw new LockOptionError(option, show(value), `ms or a text such as "5m", "1d", from ${least} to 31d`);
}
