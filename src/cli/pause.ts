import { inspect, pause, unpause } from "../admin/index.ts";
import { printable } from "../errors.ts";
import type { Add, Common } from "./command.ts";
import { lockerOf } from "./locker.ts";
import { print, printJson } from "./output.ts";

const kinds = {
  pause: { run: pause, description: "Let nobody in until unpause", done: "paused; who holds it goes on" },
  unpause: { run: unpause, description: "End a pause", done: "not paused; who waits comes in" },
};

export function addPause(name: keyof typeof kinds): (add: Add) => void {
  const { run, description, done } = kinds[name];
  return (add) => {
    add(`${name} <key>`, description).action(async (key: string, options: Common) => {
      const locker = lockerOf(options);
      await run(locker, key);
      if (options.json) return printJson(await inspect(locker, key));
      print(`${printable(key)}: ${done}.\n`);
    });
  };
}
