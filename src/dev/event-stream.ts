import type { Network } from "./network.ts";
import type { Kind, Listener, Subscriptions } from "./subscriptions.ts";

/** Bytes waiting for a client that does not read, beyond which its stream is ended, as Redis does with slow ones. */
const MAX_UNREAD = 8 * 1024 * 1024;

/** A response body of events, and what writes it. */
interface EventStream {
  body: ReadableStream<Uint8Array>;
  /** Sends one event. */
  write(text: string): void;
  /** Ends the stream, once. */
  finish(): void;
}

/** @param onEnd called once when the stream has ended, by whomever. */
export function openEventStream(network: Network, onEnd: () => void): EventStream {
  const later = inOrder(network);
  const encoder = new TextEncoder();
  let controller: ReadableStreamDefaultController<Uint8Array>;
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    onEnd();
  };
  const finish = () => {
    if (ended) return;
    end();
    controller.close();
  };
  const body = new ReadableStream<Uint8Array>(
    {
      start(given) {
        controller = given;
      },
      cancel: end,
    },
    new ByteLengthQueuingStrategy({ highWaterMark: MAX_UNREAD }),
  );
  const write = (text: string) =>
    later(() => {
      if (ended) return;
      // A line break would end the frame: the format's own way is a `data:` line for each.
      controller.enqueue(encoder.encode(`data: ${text.split("\n").join("\ndata: ")}\n\n`));
      if ((controller.desiredSize ?? 0) <= 0) finish();
    });
  return { body, write, finish };
}

/**
 * A response body with the messages of the channels (or patterns), in Upstash's frames: `data: subscribe,ch,1`, then
 * `data: message,ch,<payload>` or `data: pmessage,pattern,ch,<payload>`. Payloads are text as they are, never base64.
 *
 * @param onEnd called once when the stream has ended.
 */
export async function messageStream(
  kind: Kind,
  channels: string[],
  subscriptions: Subscriptions,
  network: Network,
  onEnd: () => void,
): Promise<ReadableStream<Uint8Array>> {
  const listeners = new Map<string, Listener>();
  const stream = openEventStream(network, () => {
    for (const listener of listeners.values()) subscriptions.remove(listener);
    onEnd();
  });
  for (const name of channels) {
    // Redis too hands on a message once, to whoever names its channel twice.
    if (!listeners.has(name)) {
      const listener: Listener = {
        message: (payload, channel) =>
          stream.write(
            kind === "subscribe" ? `message,${name},${payload}` : `pmessage,${name},${channel},${payload}`,
          ),
        end: stream.finish,
      };
      listeners.set(name, listener);
      try {
        await subscriptions.add(kind, name, listener);
      } catch (error) {
        stream.finish();
        throw error;
      }
    }
    stream.write(`${kind},${name},${listeners.size}`);
  }
  return stream.body;
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
