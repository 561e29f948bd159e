import type { Connection } from "../redis/connection.ts";
import { sleep, whenAborted } from "../time.ts";

/**
 * Listens to a channel until `signal` aborts. A stream that ends is asked for again, with jittered backoff.
 * @param hear gets each message, "" once a subscription is confirmed, undefined when its stream has ended
 */
export async function listen(
  { runtime, listen }: Connection,
  channel: string,
  hear: (message?: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const longestPause = 5000;
  for (let pause = 100; ; pause = Math.min(pause * 2, longestPause)) {
    // However it ended: the waiter polls, and a stream is only a nudge.
    // A client may leave a listener at the signal it is given: each stream has its own.
    const stream = new AbortController();
    const forget = whenAborted(signal, () => stream.abort());
    await listen(channel, hear, stream.signal).catch(() => {});
    forget();
    hear();
    await sleep(runtime, pause * (0.5 + runtime.random() / 2), signal);
  }
}
