export type {
  Door,
  Duration,
  HandleTarget,
  Lock,
  LockEvent,
  Locker,
  LockerOptions,
  LockHandle,
  LockOptions,
  LockSettings,
  Target,
  Targets,
  WithLockOptions,
  Work,
} from "./api.ts";
export {
  LockBusyError,
  LockError,
  type LockErrorCode,
  LockLostError,
  LockOptionError,
  LockUnavailableError,
} from "./errors.ts";
export { createLocker } from "./locker.ts";
export type { UpstashRedis } from "./redis/upstash.ts";
