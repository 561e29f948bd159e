import { listEvery } from "../admin/every.ts";
import type { Inspection } from "../admin/index.ts";
import { printable } from "../errors.ts";
import type { Add, Common } from "./command.ts";
import { lockerOf } from "./locker.ts";
import { durationText, ownerText, print, printJson, stateText, table } from "./output.ts";

export function addList(add: Add): void {
  add("list [start]", "Show the locks whose keys begin with a text, or all").action(
    async (start: string | undefined, options: Common) => {
      const { locks } = await listEvery(lockerOf(options), start);
      if (options.json) return printJson(locks);
      if (locks.length === 0) return print("No locks.\n");
      const now = Date.now();
      const rows = locks.map((lock) => rowOf(lock, now));
      const head = ["KEY", "STATE", "HELD BY", "FOR", "LEASE LEFT", "WAITERS"];
      print(`${table([head, ...rows]).join("\n")}\n`);
    },
  );
}

function rowOf(lock: Inspection, now: number): string[] {
  const { holders, waiters, limit, limitBy } = lock;
  const [first] = holders;
  const others = holders.length > 1 ? ` and ${holders.length - 1} more` : "";
  const since = first?.since === undefined ? "-" : durationText(now - first.since);
  return [
    ...[printable(lock.key), stateText(lock) + (limitBy === "operator" ? `, limit ${limit}` : "")],
    ...[first ? `${ownerText(first)}${others}` : "-", since],
    ...[first ? durationText(first.remaining) : "-", `${waiters.length}`],
  ];
}
