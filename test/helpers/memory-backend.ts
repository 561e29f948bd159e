import type { Redis } from "ioredis";
import type { LockerOptions } from "../../src/index.ts";
import { createMemoryRedis } from "../../src/testing/memory-redis.ts";
import type { Backend } from "./backends.ts";

type Listener = (data: { message: string }) => void;

/** The package's model of Redis as one more engine, behind an instance of the shape of `@upstash/redis`. */
function memoryBackend(): Backend & { options: LockerOptions } {
  const channels = new Map<string, Listener>();
  const memory = createMemoryRedis({
    now: () => Date.now(),
    publish(channel, message) {
      const hear = channels.get(channel);
      hear?.({ message });
      return hear ? 1 : 0;
    },
  });
  const redis: LockerOptions["redis"] & object = {
    // It never sends a command twice, and says so as an instance does.
    ...{ client: { retry: { attempts: 0 } } },
    exec: async ([name, ...words]) => memory.command(name, ...words.map(String)),
    subscribe: (channel) => ({
      on(type: string, listener: Listener) {
        if (type === "subscribe") queueMicrotask(() => listener({ message: "" }));
        if (type === "message") channels.set(channel, listener);
      },
      async unsubscribe() {
        channels.delete(channel);
      },
    }),
  };
  const raw = {
    keys: async (pattern: string) => {
      const keys = memory.command("KEYS", "*") as string[];
      return keys.filter((key) => key.startsWith(pattern.replace(/\*$/, "")));
    },
    // As the protocol writes it: NX before PX.
    set: async (key: string, value: string, px: string, ms: number, nx: string) =>
      memory.command("SET", key, value, nx, px, `${ms}`),
    ...Object.fromEntries(
      ["get", "del", "pttl"].map((name) => [
        name,
        async (key: string) => memory.command(name.toUpperCase(), key),
      ]),
    ),
  };
  return {
    options: { redis },
    raw: raw as unknown as Redis,
    // Nothing is asked of it: a locker is opened by the options.
    server: { url: "", token: "" } as Backend["server"],
    close: async () => {},
  };
}

/** As an engine with its client, for a contract that every one is held to. */
export function memoryEngine() {
  const backend = memoryBackend();
  return {
    engine: "the model in memory",
    client: "an instance like @upstash/redis's",
    missing: false,
    start: async (): Promise<Backend> => backend,
    connect: (): LockerOptions => backend.options,
  };
}
