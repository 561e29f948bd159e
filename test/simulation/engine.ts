import { createInMemoryRedis } from "js-redis-server";

/** A Redis whose clock is in the simulation's hands. */
export interface Engine {
  /** Its clock, in ms. */
  now: number;
  onPublish: (channel: string, message: string) => void;
  /** The channels that somebody listens to. */
  listening: ReadonlySet<string>;
  /** Rejects with what Redis says when it refuses a command. */
  command(name: string, ...args: string[]): Promise<unknown>;
}

/**
 * js-redis-server's commands and its Lua 5.1: the scripts run as they are. It reads `Date.now()`, which is held
 * while a command runs. Making one takes as long as some thirty scripts: it is made once and flushed.
 */
export async function createRealEngine(): Promise<Engine> {
  const redis = await createInMemoryRedis({ databaseCount: 1 });
  const [connection, subscriber] = [redis.connect(), redis.connect()];
  const realNow = Date.now;
  const engine: Engine = {
    now: 0,
    onPublish: () => {},
    listening: new Set(),
    async command(name, ...args) {
      const [script = "", ...rest] = args;
      const words = name === "EVAL" ? [countingListeners(engine.listening) + script, ...rest] : args;
      Date.now = () => engine.now;
      try {
        return await connection.command(name, ...words);
      } finally {
        Date.now = realNow;
      }
    },
  };
  await subscriber.command("PSUBSCRIBE", "*");
  void (async () => {
    for await (const push of subscriber.pushes()) {
      const [kind, , channel, message] = push as string[];
      if (kind === "pmessage") engine.onPublish(channel as string, message as string);
    }
  })();
  // The first script loads the interpreter; later ones wait for nothing.
  await engine.command("EVAL", "return 1", "0");
  return engine;
}

/**
 * Lua before a script, by which PUBLISH replies whether the channel is among those listened to. The engine itself counts
 * who gets a message: here always one, that hands all messages to the simulated network.
 */
function countingListeners(channels: ReadonlySet<string>): string {
  const names = [...channels].map((channel) => `['${channel}']=1`).join();
  return `local redis=setmetatable({pcall=function(name,...)
local reply=redis.pcall(name,...)
if name=='PUBLISH' then return ({${names}})[(...)] or 0 end
return reply
end},{__index=redis}) `;
}
