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
  let listened = new Set<string>();
  const hear = (name: string, channel: string) => subscriber.command(name, channel);
  const engine: Engine = {
    now: 0,
    onPublish: () => {},
    listening: new Set(),
    async command(name, ...args) {
      for (const channel of engine.listening) if (!listened.has(channel)) await hear("SUBSCRIBE", channel);
      for (const channel of listened) if (!engine.listening.has(channel)) await hear("UNSUBSCRIBE", channel);
      listened = new Set(engine.listening);
      Date.now = () => engine.now;
      try {
        return await connection.command(name, ...args);
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
