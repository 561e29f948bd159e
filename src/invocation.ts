// What is known of the caller's own time, and what may go on after it.
import type { Settings } from "./api.ts";
import { LockOptionError, show } from "./errors.ts";
import { leaseFor } from "./options/durations.ts";
import { forever, type Since } from "./runtime.ts";

/** Ms the caller may still run; no limit if its function does not know, or throws, as in a unit test. */
export function timeLeft(deadline: Settings["deadline"], age: Since): number {
  const left = saidBy(deadline, age);
  return isTime(left) ? Math.max(0, left) : forever;
}

/**
 * Asks once before a lock is taken. Later it is also asked by a timer, where nobody would catch an error.
 * @throws LockOptionError if its function tells something else than ms
 */
export function checkDeadline(deadline: Settings["deadline"], age: Since): void {
  const left = saidBy(deadline, age);
  if (typeof deadline === "function" && left !== undefined && !isTime(left))
    throw new LockOptionError("deadline", `a function that told ${show(left)}`, "ms");
}

function saidBy(deadline: Settings["deadline"], age: Since): unknown {
  try {
    return typeof deadline === "function" ? deadline() : Number(deadline) - age();
  } catch {
    return undefined;
  }
}

function isTime(left: unknown): left is number {
  return typeof left === "number" && !Number.isNaN(left);
}

/** Nothing may go on past the caller's own end, and the release wants a share of the time too. */
export function capped(settings: Settings, left: number): Settings {
  // Whole ms: some of them go to Redis, which takes no others.
  const usable = Math.floor(Math.max(20, left - Math.min(1000, left / 10)));
  return {
    ...settings,
    ttl: Math.min(settings.ttl, Math.max(10, leaseFor(left))),
    wait: Math.min(settings.wait, usable),
    requestTimeout: Math.min(settings.requestTimeout, Math.floor(usable / 2)),
  };
}

/** Lets a platform wait for the work. False if it does not: a hook of its that throws changes nothing else. */
export function handOver(work: Promise<unknown>, waitUntil: Settings["waitUntil"]): boolean {
  const settled = work.catch(() => {});
  try {
    Promise.resolve(waitUntil?.(settled)).catch(() => {});
    return waitUntil !== undefined;
  } catch {
    return false;
  }
}
