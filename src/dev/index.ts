export type { FaultKind, Faults } from "./faults.ts";
export type { Meter } from "./meter.ts";
export type { DevServerOptions } from "./options.ts";
export { type DevServer, startDevServer } from "./server.ts";
