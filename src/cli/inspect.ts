import { inspect } from "../admin/index.ts";
import type { Add, Common } from "./command.ts";
import { lockerOf } from "./locker.ts";
import { describeLock, print, printJson } from "./output.ts";

export function addInspect(add: Add): void {
  add("inspect <key>", "Show who holds a lock and who waits for it; exit code 1 if nobody does").action(
    async (key: string, options: Common) => {
      const lock = await inspect(lockerOf(options), key);
      if (options.json) printJson(lock);
      else print(`${describeLock(lock, Date.now()).join("\n")}\n`);
      if (lock.state === "free" && lock.waiters.length === 0) process.exitCode = 1;
    },
  );
}
