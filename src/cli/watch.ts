import { setTimeout as delay } from "node:timers/promises";
import { type Inspection, inspect } from "../admin/index.ts";
import { LockUnavailableError, printable } from "../errors.ts";
import { milliseconds } from "../options/durations.ts";
import { type Add, type Common, WrongUse } from "./command.ts";
import { lockerOf } from "./locker.ts";
import {
  cutLine,
  describeLock,
  durationText,
  errorText,
  ownerText,
  print,
  printJson,
  stateText,
} from "./output.ts";

export function addWatch(add: Add): void {
  add("watch <key>", "Show a lock live: in a terminal in place, else a line for each change; Ctrl-C ends it")
    .option("--every <time>", "how often to look: each look is 1 request and 3 billed commands", "1s")
    .action(async (key: string, options: Common & { every: string }) => {
      const pause = milliseconds(options.every);
      if (!(pause >= 100 && pause <= 3_600_000))
        throw new WrongUse(`--every: got "${printable(options.every)}", expected a time from 100ms to 1h`);
      const locker = lockerOf(options);
      // At once, also while Redis is slow to answer.
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
        process.once(signal, () => process.exit(0));
      const show = options.json ? showJson : process.stdout.isTTY ? inPlace() : lineByLine();
      show(await inspect(locker, key));
      for (;;) {
        await delay(pause);
        show(await inspect(locker, key).catch(unanswered));
      }
    });
}

/** What a look gave: the lock, or why nobody answered. */
type Seen = Inspection | LockUnavailableError;
type Show = (seen: Seen) => void;

/** An outage is watched to its end. */
function unanswered(error: unknown): LockUnavailableError {
  if (error instanceof LockUnavailableError) return error;
  throw error;
}

/** What is to be said instead of a lock. */
function outageText(seen: LockUnavailableError): string {
  return printable(errorText(seen));
}

function showJson(seen: Seen): void {
  printJson(seen instanceof Error ? { error: errorText(seen) } : seen);
}

/** Writes over what it wrote before. */
function inPlace(): Show {
  let lines = 0;
  return (seen) => {
    // A terminal that does not know its size says 0.
    const rows = Math.max(5, (process.stdout.rows || 25) - 1);
    const columns = process.stdout.columns || 80;
    // A line that the terminal breaks would not be counted.
    const text = seen instanceof Error ? [outageText(seen)] : describeLock(seen, Date.now()).slice(0, rows);
    const whole = text.map((line) => cutLine(line, columns));
    print(`${lines > 0 ? `\u001b[${lines}A` : ""}\u001b[J${whole.join("\n")}\n`);
    lines = whole.length;
  };
}

function lineByLine(): Show {
  let before = "";
  return (seen) => {
    const [line, lease, difference] =
      seen instanceof Error ? [outageText(seen), "", ""] : describeInLine(seen);
    if (line + difference !== before) print(`${new Date().toISOString()}  ${line}${lease}\n`);
    before = line + difference;
  };
}

/** A lock in a line, the lease left, and how holders without a name differ: by when they came. */
function describeInLine(lock: Inspection): [line: string, lease: string, difference: string] {
  const { holders, waiters } = lock;
  const who = holders.map((holder) => ownerText(holder)).join(", ");
  const line = [stateText(lock), who && `by ${who}`, `${waiters.length} waiting`].filter(Boolean).join("  ");
  const [first] = holders;
  const lease = first ? `  lease left ${durationText(first.remaining)}` : "";
  return [line, lease, holders.map(({ since }) => since).join()];
}
