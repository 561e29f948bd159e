import type { Redis } from "ioredis";

export type Kind = "subscribe" | "psubscribe";

/** Who listens: gets each message, and is told when no more will come. */
export interface Listener {
  message(payload: Buffer, channel: Buffer): void;
  end(): void;
}

/**
 * Subscriptions of many listeners. Redis counts its clients, in what PUBLISH and PUBSUB NUMSUB answer: so two that
 * listen to the same channel have a connection each. Those of different channels share one.
 */
export interface Subscriptions {
  /** Resolves once Redis has confirmed it. */
  add(kind: Kind, channel: string, listener: Listener): Promise<void>;
  /** Ends the listener's subscription, in Redis too. */
  remove(listener: Listener): void;
  close(): void;
}

/** A connection, and who listens on it to what. */
interface Link {
  redis: Promise<Redis>;
  topics: Record<Kind, Map<string, Listener>>;
}

const KINDS = ["subscribe", "psubscribe"] as const;

/** @param connect opens a connection, when one is needed. */
export function createSubscriptions(connect: () => Promise<Redis>): Subscriptions {
  const links = new Set<Link>();

  function open(): Link {
    const topics: Link["topics"] = { subscribe: new Map(), psubscribe: new Map() };
    const redis = connect().then((redis) => {
      redis.on("messageBuffer", (channel: Buffer, payload: Buffer) =>
        topics.subscribe.get(channel.toString())?.message(payload, channel),
      );
      redis.on("pmessageBuffer", (pattern: string | Buffer, channel: Buffer, payload: Buffer) =>
        topics.psubscribe.get(pattern.toString())?.message(payload, channel),
      );
      // What was published meanwhile is lost: a listener has to know, and to ask again.
      redis.on("close", () => endAll(link));
      return redis;
    });
    const link: Link = { redis, topics };
    links.add(link);
    redis.catch(() => links.delete(link));
    return link;
  }

  function endAll({ topics }: Link): void {
    const listeners = KINDS.flatMap((kind) => [...topics[kind].values()]);
    for (const kind of KINDS) topics[kind].clear();
    for (const listener of listeners) listener.end();
  }

  function disconnect(link: Link): void {
    links.delete(link);
    link.redis.then((redis) => redis.disconnect()).catch(() => {});
  }

  return {
    async add(kind, channel, listener) {
      const link = [...links].find(({ topics }) => !topics[kind].has(channel)) ?? open();
      link.topics[kind].set(channel, listener);
      const redis = await link.redis;
      await redis[kind](channel);
    },

    remove(listener) {
      for (const link of links) {
        for (const kind of KINDS) {
          for (const [channel, its] of link.topics[kind]) {
            if (its !== listener) continue;
            link.topics[kind].delete(channel);
            const end = kind === "subscribe" ? "unsubscribe" : "punsubscribe";
            // When the connection is gone, so is the subscription.
            link.redis.then((redis) => redis[end](channel)).catch(() => {});
          }
        }
        // One is kept for whoever comes next.
        const idle = KINDS.every((kind) => link.topics[kind].size === 0);
        if (idle && links.size > 1) disconnect(link);
      }
    },

    close() {
      for (const link of [...links]) {
        endAll(link);
        disconnect(link);
      }
    },
  };
}
