import { LockOptionError, show } from "../errors.ts";
import { type Command, type RedisClient, RefusedError } from "./client.ts";

/** The slice of a `Redis` of `@upstash/redis` (1.34.9 or later, any platform's build) that is used. */
export interface UpstashRedis {
  exec(command: [string, ...(string | number | boolean)[]]): Promise<unknown>;
  /** Absent, waiting goes by polling. */
  subscribe?(channel: string): UpstashSubscriber;
}

interface UpstashSubscriber {
  // biome-ignore lint/suspicious/noExplicitAny: each event has data of its own
  on(type: any, listener: (data: any) => void): void;
  unsubscribe(): Promise<void>;
}

/**
 * A user's own `Redis` of `@upstash/redis`. It sends again by itself after a lost reply (first after
 * `Math.exp(0) * 50` ms, by its source), answers an aborted request with a nil or a text, and takes no
 * signal for a single request.
 */
export function upstashClient(redis: unknown): RedisClient {
  if (typeof (redis as Partial<UpstashRedis> | null)?.exec !== "function") {
    throw new LockOptionError("redis", show(redis), "a Redis of @upstash/redis 1.34.9 or later");
  }
  return {
    resendsAfter: 50,
    async send(command: Command) {
      try {
        return await (redis as UpstashRedis).exec(command as [string, ...(string | number)[]]);
      } catch (error) {
        const { name, message } = error as Error;
        // The message quotes the whole command, tokens included; only what Redis itself said may pass.
        const reply = name === "UpstashError" && message.split(", command was:", 1)[0];
        if (reply && /^[A-Z]+ /.test(reply)) throw new RefusedError(reply);
        throw name.startsWith("Upstash") ? new Error("no reply of Redis") : error;
      }
    },
    /** It tells of a stream that could not be opened, but not of one that ended. */
    listen(channel, hear, signal) {
      return new Promise((resolve, reject) => {
        const subscriber = (redis as UpstashRedis).subscribe?.(channel);
        subscriber?.on("subscribe", () => hear(""));
        subscriber?.on("message", ({ message }) => hear(`${message}`));
        subscriber?.on("error", reject);
        signal.addEventListener("abort", () => {
          subscriber?.unsubscribe().catch(() => {});
          resolve();
        });
      });
    },
  };
}
