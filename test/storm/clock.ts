import { closeSync, openSync, readSync, writeFileSync } from "node:fs";

// A wall clock that another process can move: `Date.now()` reads the distance from a file at each call. So a step is
// seen at once, also by a process that was stopped meanwhile and runs its overdue timers before anything else.

/** Lets this process read its wall clock off the file; nobody else's is touched, nor the monotonic clock. */
export function followClock(file: string): void {
  const realNow = Date.now;
  const descriptor = openSync(file, "r");
  const offset = new Float64Array(1);
  Date.now = () => {
    readSync(descriptor, offset, 0, 8, 0);
    return Math.floor(realNow() + (offset[0] as number));
  };
  process.once("exit", () => closeSync(descriptor));
}

/** Puts that clock `ms` before (or behind) the machine's. */
export function setClock(file: string, ms: number): void {
  writeFileSync(file, new Float64Array([ms]));
}
