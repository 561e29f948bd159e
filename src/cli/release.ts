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
      const { now = false } = options;
      if (!options.yes) {
        if (!process.stdin.isTTY || !process.stdout.isTTY)
          throw new WrongUse("release asks before it ends a lock: without a terminal it needs --yes");
        const lock = await inspect(locker, key);
        if (lock.state === "free") return nothing(key, options);
        print(`${[...describeLock(lock, Date.now()), "", whatFollows(lock, now)].join("\n")}\n`);
        if (!(await agreed())) return nothing(key, options);
      }
      const result = await release(locker, key, { now });
      if (options.json) printJson(result);
      if (!result.released) return nothing(key, options, result);
      const when = result.freeWithin ? `free within ${durationText(result.freeWithin)}` : "free now";
      if (!options.json) print(`Ended ${printable(key)}: ${when}. Who waits comes in.\n`);
    });
}

/** @param freeWithin 0 if nobody holds it; undefined for another library's lock without an end */
function nothing(
  key: string,
  { json }: Common,
  { freeWithin }: Pick<Released, "freeWithin"> = { freeWithin: 0 },
): void {
  process.exitCode = 1;
  if (json) return;
  const why = freeWithin === 0 ? "nothing was ended" : "another library holds it, and only --now ends that";
  print(`${printable(key)}: ${why}.\n`);
}

function whatFollows({ state, holders, waiters }: Inspection, now: boolean): string {
  const next = waiters.length > 0 ? `${waiters.length} wait, the next comes in.` : "Nobody waits.";
  if (now)
    return `It is handed over at once. Until its holder learns that, two may work at the same time. ${next}`;
  if (state === "foreign") return "Another library holds it: without --now nothing is done.";
  const left = Math.max(...holders.map(({ kept, remaining }) => (kept ? 0 : (remaining ?? 0))));
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
