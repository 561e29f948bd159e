import { hasRedisServer, type RunningRedis, startRedis } from "../helpers/redis-server.ts";

/** The engines that a suite runs on: `describe.each(engines)("…, on $name", …)`, skipped where `available` is false. */
export const engines = [
  {
    name: "the embedded engine",
    available: true,
    open: async () => ({ redis: undefined, close: async () => {} }),
  },
  {
    name: "redis-server",
    available: hasRedisServer,
    open: async () => {
      const running: RunningRedis = await startRedis();
      return { redis: running.url as string | undefined, close: running.close };
    },
  },
];
