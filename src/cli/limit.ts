import { inspect, setLimit } from "../admin/index.ts";
import { printable } from "../errors.ts";
import { type Add, type Common, WrongUse } from "./command.ts";
import { lockerOf } from "./locker.ts";
import { print, printJson } from "./output.ts";

export function addLimit(add: Add): void {
  add("limit <key> <n>", 'Set how many permits there are until it is taken back by "none"').action(
    async (key: string, n: string, options: Common) => {
      if (!/^(\d+|none)$/.test(n))
        throw new WrongUse(`limit: got "${printable(n)}", expected a whole number from 1 to 100000, or none`);
      const locker = lockerOf(options);
      await setLimit(locker, key, n === "none" ? undefined : Number(n));
      if (options.json) return printJson(await inspect(locker, key));
      print(`${printable(key)}: ${n === "none" ? "each caller's own limit counts again" : `limit ${n}`}.\n`);
    },
  );
}
