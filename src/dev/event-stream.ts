import type { Network } from "./network.ts";
import type { Kind, Listener, Subscriptions } from "./subscriptions.ts";

/** Bytes waiting for a client that does not read, beyond which its stream is ended, as Redis does with slow ones. */
const MAX_UNREAD = 8 * 1024 * 1024;

/**
 * A response body with the messages of the channels (or patterns), in Upstash's frames: `data: subscribe,ch,1`, then
 * `data: message,ch,<payload>` or `data: pmessage,pattern,ch,<payload>`. Payloads are text as they are, never base64.
 *
 * @param onEnd called once when the stream has ended, with the number of subscriptions that ended with it.
 */
export async function eventStream(
  kind: Kind,
  channels: string[],
  subscriptions: Subscriptions,
  network: Network,
  onEnd: (count: number) => void,
): Promise<ReadableStream<Uint8Array>> {
  let write: (text: string) => void = () => {};
  let finish: () => void = () => {};
  const listeners: Listener[] = channels.map((name) => ({
    message: (payload, channel) =>
      write(kind === "subscribe" ? `message,${name},${payload}` : `pmessage,${name},${channel},${payload}`),
    end: () => finish(),
  }));

  let ended = false;
  const stopListening = () => {
    if (ended) return;
    ended = true;
    for (const listener of listeners) subscriptions.remove(listener);
    onEnd(channels.length);
  };
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const encoder = new TextEncoder();
        const later = inOrder(network);
        finish = () => {
          if (ended) return;
          stopListening();
          controller.close();
        };
        write = (text) =>
          later(() => {
            if (ended) return;
            // A line break would end the frame: the format's own way is a `data:` line for each.
            controller.enqueue(encoder.encode(`data: ${text.split("\n").join("\ndata: ")}\n\n`));
            if ((controller.desiredSize ?? 0) <= 0) finish();
          });
      },
      cancel: stopListening,
    },
    new ByteLengthQueuingStrategy({ highWaterMark: MAX_UNREAD }),
  );

  for (const [i, channel] of channels.entries()) {
    try {
      await subscriptions.add(kind, channel, listeners[i] as Listener);
    } catch (error) {
      stopListening();
      throw error;
    }
    write(`${kind},${channel},${i + 1}`);
  }
  return body;
}

/** Runs each task when its way over the network is over, and none before an earlier one. */
function inOrder(network: Network): (task: () => void) => void {
  let waiting = 0;
  let last = Promise.resolve();
  return (task) => {
    const ms = network.wayBack();
    if (ms === 0 && waiting === 0) return task();
    waiting++;
    const arrived = new Promise<void>((resolve) => setTimeout(resolve, ms).unref());
    last = Promise.all([last, arrived]).then(() => {
      waiting--;
      task();
    });
  };
}
