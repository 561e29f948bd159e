export { dynamoFence } from "./dynamo.ts";
export { type FenceKitOptions, fenceKit } from "./kit.ts";
export type { FencedLock } from "./lock.ts";
export { postgresFence } from "./postgres.ts";
export { fencedSet, redisFence } from "./redis.ts";
