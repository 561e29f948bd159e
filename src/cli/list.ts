import { type Inspection, list } from "../admin/index.ts";
import { printable } from "../errors.ts";
import type { Add, Common } from "./command.ts";
import { lockerOf } from "./locker.ts";
import { durationText, ownerText, print, printJson, stateText, table } from "./output.ts";

export function addList(add: Add): void {
  add("list [start]", "Show the locks whose keys begin with a text, or all").action(
    async (start: string | undefined, options: Common) => {
      const locker = lockerOf(options);
      const locks: Inspection[] = [];
      let cursor: string | undefined;
      do {
        const page = await list(locker, { prefix: start, cursor, count: 1000 });
        locks.push(...page.locks);
        cursor = page.cursor;
      } while (cursor !== undefined);
      const sorted = locks.sort((a, b) => (a.key < b.key ? -1 : 1));
      if (options.json) return printJson(sorted);
      if (sorted.length === 0) return print("No locks.\n");
      const now = Date.now();
      const rows = sorted.map((lock) => rowOf(lock, now));
      const head = ["KEY", "STATE", "HELD BY", "FOR", "LEASE LEFT", "WAITERS"];
      print(`${table([head, ...rows]).join("\n")}\n`);
    },
  );
}

function rowOf(lock: Inspection, now: number): string[] {
  const { holders, waiters } = lock;
  const [first] = holders;
  const others = holders.length > 1 ? ` and ${holders.length - 1} more` : "";
  const since = first?.since === undefined ? "-" : durationText(now - first.since);
  return [
    ...[printable(lock.key), stateText(lock), first ? `${ownerText(first)}${others}` : "-", since],
    ...[first ? durationText(first.remaining) : "-", `${waiters.length}`],
  ];
}
