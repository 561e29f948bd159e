import type { Redis } from "ioredis";

export type Kind = "subscribe" | "psubscribe";

/** Who listens: gets each message, and is told when no more will come. */
export interface Listener {
  message(payload: Buffer, channel: Buffer): void;
  end(): void;
}

/** Subscriptions of many listeners over one connection, which Redis is asked for once per channel or pattern. */
export interface Subscriptions {
  /** Resolves once Redis has confirmed it. Several calls with the same listener are ended by one `remove`. */
  add(kind: Kind, channel: string, listener: Listener): Promise<void>;
  /** Ends all subscriptions of the listener, in Redis too where nobody else has them. */
  remove(listener: Listener): void;
  close(): void;
}

/** @param connect opens the connection, at the first subscription. */
export function createSubscriptions(connect: () => Promise<Redis>): Subscriptions {
  let connection: Promise<Redis> | undefined;
  const topics: Record<Kind, Map<string, Set<Listener>>> = { subscribe: new Map(), psubscribe: new Map() };

  function open(): Promise<Redis> {
    connection ??= connect().then(
      (redis) => {
        redis.on("messageBuffer", (channel: Buffer, payload: Buffer) =>
          deliver(topics.subscribe.get(channel.toString()), payload, channel),
        );
        redis.on("pmessageBuffer", (pattern: string | Buffer, channel: Buffer, payload: Buffer) =>
          deliver(topics.psubscribe.get(pattern.toString()), payload, channel),
        );
        // What was published meanwhile is lost: a listener has to know, and to ask again.
        redis.on("close", endAll);
        return redis;
      },
      (error) => {
        connection = undefined;
        throw error;
      },
    );
    return connection;
  }

  function deliver(listeners: Set<Listener> | undefined, payload: Buffer, channel: Buffer): void {
    for (const listener of listeners ?? []) listener.message(payload, channel);
  }

  function endAll(): void {
    const listeners = new Set(
      [...topics.subscribe.values(), ...topics.psubscribe.values()].flatMap((some) => [...some]),
    );
    topics.subscribe.clear();
    topics.psubscribe.clear();
    for (const listener of listeners) listener.end();
  }

  return {
    async add(kind, channel, listener) {
      const redis = await open();
      const listeners = topics[kind].get(channel) ?? new Set();
      topics[kind].set(channel, listeners.add(listener));
      // Asked again also where another listener has it already: the answer then says that it is in force.
      await redis[kind](channel);
    },

    remove(listener) {
      for (const kind of ["subscribe", "psubscribe"] as const) {
        for (const [channel, listeners] of topics[kind]) {
          if (!listeners.delete(listener) || listeners.size > 0) continue;
          topics[kind].delete(channel);
          const end = kind === "subscribe" ? "unsubscribe" : "punsubscribe";
          // When the connection is gone, so is the subscription.
          connection?.then((redis) => redis[end](channel)).catch(() => {});
        }
      }
    },

    close() {
      connection?.then((redis) => redis.disconnect()).catch(() => {});
      endAll();
    },
  };
}
