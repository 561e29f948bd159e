import { setTimeout as delay } from "node:timers/promises";
import { type Inspection, inspect } from "../admin/index.ts";
import { printable } from "../errors.ts";
import { milliseconds } from "../options/durations.ts";
import { type Add, type Common, WrongUse } from "./command.ts";
import { lockerOf } from "./locker.ts";
import { cutLine, describeLock, durationText, ownerText, print, printJson, stateText } from "./output.ts";

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
      const show = options.json ? printJson : process.stdout.isTTY ? inPlace() : lineByLine();
      for (;;) {
        show(await inspect(locker, key));
        await delay(pause);
      }
    });
}

type Show = (lock: Inspection) => void;

/** Writes over what it wrote before. */
function inPlace(): Show {
  let lines = 0;
  return (lock) => {
    // A terminal that does not know its size says 0.
    const rows = Math.max(5, (process.stdout.rows || 25) - 1);
    const columns = process.stdout.columns || 80;
    // A line that the terminal breaks would not be counted.
    const text = describeLock(lock, Date.now()).slice(0, rows);
    const whole = text.map((line) => cutLine(line, columns));
    print(`${lines > 0 ? `\u001b[${lines}A` : ""}\u001b[J${whole.join("\n")}\n`);
    lines = whole.length;
  };
}

function lineByLine(): Show {
  let before = "";
  return (lock) => {
    const who = lock.holders.map((holder) => ownerText(holder)).join(", ");
    const what = [stateText(lock), who && `by ${who}`, `${lock.waiters.length} waiting`].filter(Boolean);
    const line = what.join("  ");
    const [first] = lock.holders;
    const lease = first ? `  lease left ${durationText(first.remaining)}` : "";
    // Holders without a name differ by when they came.
    const seen = [line, ...lock.holders.map(({ since }) => since)].join("  ");
    if (seen !== before) print(`${new Date().toISOString()}  ${line}${lease}\n`);
    before = seen;
  };
}
