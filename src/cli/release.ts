import { createInterface } from "node:readline/promises";
import { type Inspection, inspect, type Released, release } from "../admin/index.ts";
import { printable } from "../errors.ts";
import { type Add, type Common, WrongUse } from "./command.ts";
import { lockerOf } from "./locker.ts";
import { describeLock, durationText, print, printJson } from "./output.ts";

export function addRelease(add: Add): void {
  add("release <key>", "End a lock. Its holder keeps it for one lease at most, so that no two work at once")
    .option("--now", "hand it over at once; the holder may go on to work until it learns that")
    .option("-y, --yes", "do not ask")
    .action(async (key: string, options: Common & { now?: boolean; yes?: boolean }) => {
      const locker = lockerOf(options);
      const { now = false, yes = false, json } = options;
      if (!yes && !(process.stdin.isTTY && process.stdout.isTTY))
        throw new WrongUse("release asks before it ends a lock: without a terminal it needs --yes");
      const lock = await inspect(locker, key);
      const free = lock.state === "free";
      if (!yes && !free) {
        print(`${[...describeLock(lock, Date.now()), "", whatFollows(lock, now)].join("\n")}\n`);
        if (!(await agreed())) return nothing(key, options, "nothing was ended");
        // An answer takes a while, and those behind are not meant.
        if (!holdsStill(lock, await inspect(locker, key)))
          return nothing(key, options, "its holders have gone by themselves, nothing was ended");
      }
      // Whoever comes meanwhile was not shown.
      const result = free ? { released: false, freeWithin: 0 } : await release(locker, key, { now });
      if (json) printJson(result);
      if (!result.released) return nothing(key, options, whyNothing(result));
      const when = result.freeWithin ? `free within ${durationText(result.freeWithin)}` : "free now";
      const next = lock.paused ? "It is paused: nobody comes in" : "Who waits comes in";
      if (!json) print(`Ended ${printable(key)}: ${when}. ${next}.\n`);
    });
}

function nothing(key: string, { json }: Common, why: string): void {
  process.exitCode = 1;
  if (!json) print(`${printable(key)}: ${why}.\n`);
}

/** @param freeWithin 0 if nobody holds it; undefined for another library's lock without an end */
function whyNothing({ freeWithin }: Released): string {
  return freeWithin === 0 ? "nothing was ended" : "another library holds it, and only --now ends that";
}

/** Whether one of those that were shown holds it. */
function holdsStill(shown: Inspection, later: Inspection): boolean {
  const names = ({ holders }: Inspection) => holders.map(({ owner, since }) => `${since} ${owner}`);
  const before = names(shown);
  return names(later).some((name) => before.includes(name));
}

function whatFollows({ state, holders, waiters, paused }: Inspection, now: boolean): string {
  const wait = waiters.length > 0 ? `${waiters.length} wait, the next comes in.` : "Nobody waits.";
  const next = paused ? "It is paused: nobody comes in until unpause." : wait;
  if (now)
    return `It is handed over at once. Until its holder learns that, two may work at the same time. ${next}`;
  if (state === "foreign") return "Another library holds it: without --now nothing is done.";
  const left = Math.max(...holders.map(({ kept, remaining }) => (kept ? 0 : (remaining ?? 0))));
  if (left === 0) return `Its work is done: it is free at once. ${next}`;
  return `Its renewal is refused from now on: it is free within ${durationText(left)}. No two work at once. ${next}`;
}

async function agreed(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await terminal.question("End it? [y/N] ")).trim());
  } catch {
    // Ctrl-C or Ctrl-D.
    return false;
  } finally {
    terminal.close();
  }
}
