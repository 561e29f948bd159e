import { LockOptionError, show } from "../errors.ts";
import { forever, whenAborted } from "../runtime.ts";
import { errorOf, type RedisClient, RefusedError } from "./client.ts";
import { cannotStream } from "./rest.ts";

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

/** What an instance of `@upstash/redis` is seen to have, beside what it promises. */
interface Inside {
  client?: {
    baseUrl?: unknown;
    headers?: Record<string, string>;
    options?: { signal?: AbortSignal | (() => AbortSignal) };
    retry?: { attempts?: unknown; backoff?: unknown };
  };
  /** Clients that hold a connection (ioredis, node-redis) have these two. */
  connect?: unknown;
  sendCommand?: unknown;
  /** That of valkey-glide. */
  customCommand?: unknown;
  /** A pipeline has the first of these two, a plain instance the second, one that pipelines by itself both. */
  length?: unknown;
  pipeline?: unknown;
}

/**
 * A user's own `Redis` of `@upstash/redis`. It sends again by itself after a lost reply, answers an aborted request
 * with a nil or the signal's reason, and takes no signal for a single request.
 */
export function upstashClient(redis: unknown): RedisClient {
  const { client, connect, sendCommand, customCommand, length, pipeline } = Object(redis) as Inside;
  const connected = connect || sendCommand || customCommand;
  if (typeof Object(redis).exec !== "function" || connected || (length && !pipeline)) {
    const given = connected ? "a client that holds a connection" : show(redis);
    throw new LockOptionError("redis", given, "a Redis of @upstash/redis 1.34.9 or later, which speaks HTTP");
  }
  const instance = redis as UpstashRedis;
  /** What our own request is answered, since the instance first failed without saying what Redis said. */
  let status: Promise<number | undefined> | undefined;
  // A server that does not stream is not asked for a stream again.
  let streams = true;

  /** A request of our own, sent as the instance would send it. Undefined: no answer. */
  async function request(path: string, init: RequestInit, signal: AbortSignal) {
    const { baseUrl, headers } = client ?? {};
    const sent = { method: "POST", signal, ...init, headers: { ...headers, ...init.headers } };
    const response = await fetch(`${baseUrl}${path}`, sent).catch(() => undefined);
    // Only its head is read.
    await response?.body?.cancel();
    return response;
  }

  return {
    exact: false,
    resendsAfter: firstPause(client?.retry),
    async send(commands, signal) {
      try {
        const replies: unknown[] = [];
        // As texts: a server in Go reads 1000000 as 1e+06, which Redis refuses.
        for (const command of commands)
          replies.push(await instance.exec(command.map(String) as [string, ...string[]]));
        const own = client?.options?.signal;
        // Then the reply may be the signal's reason, whatever that is.
        if (typeof own === "object" && own?.aborted) throw new Error("its signal has aborted");
        status = undefined;
        return replies;
      } catch (error) {
        const { name = "", message = "" } = Object(error) as Error;
        // The message quotes the whole command, tokens included; only what Redis itself said may pass.
        const said = name === "UpstashError" && message.split(", command was:", 1)[0];
        const spoken = said && /^[A-Z]+ /.test(said) && errorOf(said);
        if (spoken instanceof RefusedError) throw spoken;
        if (!name.startsWith("Upstash")) throw error;
        // The instance hides whether its token was refused, in whatever words. One PING tells, for all that fail at once.
        status ??= request("", { body: '["PING"]' }, signal).then((response) => response?.status);
        const answered = await status;
        if (!answered) status = undefined;
        throw answered === 401 || answered === 403
          ? new RefusedError(`HTTP ${answered}`)
          : spoken || new Error("no reply of Redis");
      }
    },
    /** It tells of a stream that could not be opened, but not of one that ended. */
    listen(channel, hear, signal) {
      if (!streams) return new Promise((resolve) => void whenAborted(signal, resolve));
      let forget = () => {};
      return new Promise<void>((resolve, reject) => {
        const subscriber = instance.subscribe?.(channel);
        subscriber?.on("subscribe", () => hear(""));
        subscriber?.on("message", ({ message }) => hear(`${message}`));
        subscriber?.on("error", async (error) => {
          // It hides the status, which tells a refusal of the moment from one for good.
          const headers = { accept: "text/event-stream" };
          const response = await request(`/subscribe/${channel}`, { headers }, signal);
          if (response && cannotStream(response)) streams = false;
          reject(error);
        });
        forget = whenAborted(signal, () => {
          subscriber?.unsubscribe().catch(() => {});
          resolve();
        });
      }).finally(() => forget());
    },
  };
}

/** Ms after which an instance sends a request again, as it was set up; 0 where that cannot be seen. */
function firstPause({ attempts, backoff }: { attempts?: unknown; backoff?: unknown } = {}): number {
  if (attempts === 0) return forever;
  const pause = typeof backoff === "function" ? Number(backoff(0)) : 0;
  return pause > 0 ? pause : 0;
}
