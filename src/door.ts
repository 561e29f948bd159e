import type { Locker } from "./api.ts";
import { LockOptionError, show } from "./errors.ts";

/**
 * The locker, if what is built on one can use it: it has `run`.
 * @throws LockOptionError
 */
export function withDoor<L extends Pick<Locker, "run">>(locker: L): L {
  if (typeof Object(locker).run === "function") return locker;
  throw new LockOptionError("locker", show(locker), "what createLocker or memoryLocker returned");
}
