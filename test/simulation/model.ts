import { adminScript } from "../../src/admin/script.ts";
import { protocolScript } from "../../src/protocol/script.ts";
import { createMemoryRedis } from "../../src/testing/memory-redis.ts";
import type { Engine } from "./engine.ts";

/**
 * The package's own model of the scripts, some forty times as fast as they are, so that most histories of a run can be
 * played on it. It refuses what a stock Redis 7 refuses: what Upstash has beside that, the simulated server adds.
 */
export function createModelEngine(): Engine {
  const redis = createMemoryRedis({
    now: () => engine.now,
    publish(channel, message) {
      engine.onPublish(channel, message);
      return engine.listening.has(channel) ? 1 : 0;
    },
  });
  const engine: Engine = {
    now: 0,
    onPublish: () => {},
    listening: new Set(),
    async command(name, ...args) {
      const [first = "", , option] = args;
      if (name === "DELEX") throw new Error("ERR unknown command 'DELEX'");
      if (name === "SET" && option === "IFEQ") throw new Error("ERR syntax error");
      if (name === "EVAL" && first.startsWith("#!")) throw new Error("ERR Unexpected flag in script shebang");
      // One with a defect built in is none that the model knows.
      if (name === "EVAL" && first !== protocolScript() && first !== adminScript())
        throw new Error("the model does not know this script");
      return redis.command(name, ...args);
    },
  };
  return engine;
}
