import { newerEngines } from "../helpers/newer-engines.ts";
import { hasRedisServer, type RunningRedis, startRedis } from "../helpers/redis-server.ts";

async function openRedis(command?: string) {
  const running: RunningRedis = await startRedis(command === undefined ? {} : { command });
  return { redis: running.url as string | undefined, close: running.close };
}

/** The engines that a suite runs on: `describe.each(engines)("…, on $name", …)`, skipped where `available` is false. */
export const engines = [
  {
    name: "the embedded engine",
    available: true,
    open: async () => ({ redis: undefined as string | undefined, close: async () => {} }),
  },
  { name: "redis-server", available: hasRedisServer, open: () => openRedis() },
  ...newerEngines.map(({ name, command }) => ({ name, available: true, open: () => openRedis(command) })),
];
