export {
  LockBusyError,
  LockError,
  type LockErrorCode,
  LockLostError,
  LockOptionError,
  LockUnavailableError,
} from "./errors.ts";
export type { LockHandle } from "./lease/handle.ts";
export type { Lock } from "./lease/held-lock.ts";
export { createLocker, type Locker, type LockerOptions, type Work } from "./locker.ts";
export type { LockEvent, LockOptions, LockSettings, WithLockOptions } from "./options.ts";
export type { UpstashRedis } from "./redis/upstash.ts";
export type { Duration } from "./time.ts";
