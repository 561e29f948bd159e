import type { Attempt, Claim } from "../protocol/attempt.ts";
import { channelOf } from "../protocol/protocol.ts";
import type { Connection } from "../redis/connection.ts";
import { sleep, whenAborted } from "../runtime.ts";

/** What a waiter hears: a message, "" once a subscription is confirmed, undefined when its stream has ended. */
type Heard = string | undefined;

/** What came over the stream and was not looked at yet. */
export interface Inbox {
  readonly heard: Heard[];
  /** Whether the server has confirmed the subscription, and the stream has not ended since. */
  subscribed: boolean;
  /** Called when something comes. */
  wake(): void;
}

/** Listens for grants. Returns what ends it. */
export function subscribe({ connection }: Attempt, claim: Claim, inbox: Inbox): () => void {
  const stream = new AbortController();
  const hear = (message: Heard) => {
    if (stream.signal.aborted) return;
    inbox.subscribed = message !== undefined;
    inbox.heard.push(message);
    inbox.wake();
  };
  listenOn(connection, channelOf(claim), hear, stream.signal).catch(() => {});
  return () => {
    inbox.subscribed = false;
    stream.abort();
  };
}

/** Listens until `signal` aborts. A stream that ends is asked for again, with jittered backoff. */
async function listenOn(
  { runtime, listen }: Connection,
  channel: string,
  hear: (message: Heard) => void,
  signal: AbortSignal,
): Promise<void> {
  const longestPause = 5000;
  for (let pause = 100; ; pause = Math.min(pause * 2, longestPause)) {
    // A client may leave a listener at the signal it is given: each stream has its own.
    const stream = new AbortController();
    const forget = whenAborted(signal, () => stream.abort());
    // However it ended: the waiter polls, and a stream is only a nudge.
    await listen(channel, hear, stream.signal).catch(() => {});
    forget();
    hear(undefined);
    await sleep(runtime, pause * (0.5 + runtime.random() / 2), signal);
  }
}
