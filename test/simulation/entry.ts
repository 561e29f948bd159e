// What the simulation takes from the package: its public surface, and where time and the network enter.
export * as admin from "../../src/admin/index.ts";
export * from "../../src/index.ts";
export { newLocker } from "../../src/locker.ts";
export { defaults } from "../../src/options/lock-options.ts";
export { RefusedError } from "../../src/redis/client.ts";
export { connect } from "../../src/redis/connection.ts";
export { singleFlight } from "../../src/single-flight/index.ts";
