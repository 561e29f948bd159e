// What the other entries may use of the core, and the file that is bundled as the core: they import these names at run
// time, whichever module they name in the source, and build.ts refuses any other.
export { acquireHeld } from "./acquire/acquire.ts";
export { withDoor } from "./door.ts";
export { printable, show } from "./errors.ts";
export { emit, tell } from "./events.ts";
export * from "./index.ts";
export { checkDeadline, handOver, timeLeft } from "./invocation.ts";
export { unheldLock } from "./lease/held-lock.ts";
export { checkFencing, connectionOptions, finisher, longestWindow, lossOf, newLocker } from "./locker.ts";
export { leaseFor, milliseconds } from "./options/durations.ts";
export { defaults, readOptions } from "./options/lock-options.ts";
export {
  checkFunction,
  checkNames,
  checkOptional,
  duration,
  isFunction,
  isSignal,
  wellFormed,
} from "./options/rules.ts";
export { readKey, readTargets, redisKey, whole } from "./options/targets.ts";
export { newAttempt } from "./protocol/attempt.ts";
export { deliver, readResult } from "./protocol/deliver.ts";
export { gone, resultKey, unexpected } from "./protocol/protocol.ts";
export {
  decodePlain,
  decodeState,
  encodePlain,
  encodeState,
  isHeldBy,
  kindOf,
  marksRoom,
  shortOwner,
  stateMark,
  stateRoom,
} from "./protocol/state.ts";
export { askAll, evaluate } from "./protocol/support.ts";
export {
  askedTogether,
  fenceLife,
  lostRequestMargin,
  marksLife,
  pausedLife,
  pollAtLeastEvery,
  pollEvery,
  pollLaterPerPlace,
  shortestGrant,
  unheardCut,
} from "./protocol/timing.ts";
export { RefusedError } from "./redis/client.ts";
export { connect } from "./redis/connection.ts";
export { restClient } from "./redis/rest.ts";
export { forever, realRuntime, whenAborted, within } from "./runtime.ts";
export { withoutTokens } from "./unavailable.ts";
