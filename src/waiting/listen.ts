import type { Connection } from "../redis/connection.ts";
import { sleep, within } from "../time.ts";

/** What is published for one waiter, as long as it waits. */
export interface Listener {
  /** Whether the server has confirmed the subscription, and the stream has not ended since. */
  readonly live: boolean;
  /** The next message, "" for the confirmation of a subscription, or undefined when none comes within `ms`. */
  next(ms: number, signal: AbortSignal | undefined): Promise<string | undefined>;
  /** Ends the stream at once. */
  close(): void;
}

const longestPause = 5000;

/** Listens to a channel. A stream that ends is asked for again, with jittered backoff. */
export function listen(connection: Connection, channel: string): Listener {
  const { runtime } = connection;
  const closed = new AbortController();
  const messages: string[] = [];
  let wake = () => {};
  let live = false;
  let pause = 100;

  const hear = (message: string) => {
    live ||= !message;
    messages.push(message);
    wake();
  };

  async function keepListening() {
    for (;;) {
      // However it ended: the waiter polls, and a stream is only a nudge.
      await connection.listen(channel, hear, closed.signal).catch(() => {});
      live = false;
      await sleep(runtime, pause * (0.5 + runtime.random() / 2), closed.signal);
      pause = Math.min(pause * 2, longestPause);
    }
  }
  keepListening().catch(() => {});

  return {
    get live() {
      return live;
    },
    async next(ms, signal) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (messages.length === 0) await within(runtime, woken, ms, undefined, signal);
      return messages.shift();
    },
    close: () => closed.abort(),
  };
}
