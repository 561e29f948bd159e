import type { Redis } from "ioredis";
import type { Embedded } from "./embedded.ts";

/** What MONITOR says of one command that Redis ran. */
export interface MonitorLine {
  /** The client's address, or `lua` for a command that a script called. */
  source: string;
  name: string;
  /** The beginning of the first argument. */
  first: string;
}

/** All that Redis runs, in order. */
export interface Monitor {
  /** Whether lines come at the moment. */
  running(): boolean;
  /** At most once. */
  onLine(listener: (line: MonitorLine) => void): void;
  /** Called when lines come again after a lost connection. */
  onRestart(listener: () => void): void;
  /** Called when no more lines come. */
  onStop(listener: () => void): void;
  close(): void;
}

/** Enough for an address, a name and the beginning of an argument. */
const KEPT = 512;

/**
 * MONITOR on a connection of its own. Undefined where it is refused, by an ACL for instance.
 *
 * ioredis has a mode for it, which ends with an error where others keep Redis busy: their lines come with the reply to
 * MONITOR, and it takes them for replies. So it is sent, and all that comes is read, in ioredis's place.
 */
export async function openMonitor(redis: Redis): Promise<Monitor | undefined> {
  let running = false;
  let onLine: (line: MonitorLine) => void = () => {};
  let onRestart = () => {};

  async function begin(): Promise<void> {
    // Whatever was asked before has its reply by then.
    await redis.ping();
    const allowed = new Promise<boolean>((resolve, reject) => {
      redis.once("close", () => reject(new Error("the connection of MONITOR was lost")));
      readLines(redis, (text) => {
        const line = parse(text);
        if (line) onLine(line);
        else resolve(text.startsWith("+OK"));
      });
    });
    redis.stream.write("MONITOR\r\n");
    running = await allowed;
  }

  await begin();
  if (!running) {
    redis.disconnect();
    return undefined;
  }
  redis.on("close", () => {
    running = false;
  });
  redis.on("ready", () => {
    begin().then(
      () => running && onRestart(),
      () => {},
    );
  });
  return {
    running: () => running,
    onLine(listener) {
      onLine = listener;
    },
    onRestart(listener) {
      onRestart = listener;
    },
    onStop: (listener) => redis.on("close", listener),
    close: () => redis.disconnect(),
  };
}

/**
 * The same of the embedded engine, without a connection: written out as MONITOR's lines, a value of 10 MB takes the
 * engine seconds.
 */
export function monitorOfEmbedded(feed: Embedded["monitorFeed"]): Monitor {
  let unsubscribe: (() => void) | undefined;
  return {
    running: () => unsubscribe !== undefined,
    onLine(listener) {
      unsubscribe = feed.subscribe(({ clientAddress, clientId, command, args }) =>
        listener({
          source: clientAddress ?? clientId,
          name: command.toString(),
          first: args[0]?.toString("latin1", 0, KEPT) ?? "",
        }),
      );
    },
    onRestart() {},
    onStop() {},
    close: () => unsubscribe?.(),
  };
}

/**
 * Reads the lines from the connection's stream in ioredis's place. It would collect each as a whole, starting over
 * with each chunk: seconds for a value of 10 MB. Here a line's beginning is enough:
 * `+1700000000.123456 [0 127.0.0.1:50000] "PING" "first argument" …`.
 */
function readLines({ stream }: Redis, onText: (line: string) => void): void {
  let start = "";
  stream.removeAllListeners("data");
  stream.on("data", (chunk: Buffer) => {
    let from = 0;
    for (let end = chunk.indexOf("\n"); end !== -1; end = chunk.indexOf("\n", from)) {
      const line = start + beginning(chunk, from, end, start.length);
      start = "";
      from = end + 1;
      onText(line);
    }
    start += beginning(chunk, from, chunk.length, start.length);
  });
}

function beginning(chunk: Buffer, from: number, to: number, have: number): string {
  return chunk.toString("latin1", from, Math.min(to, from + KEPT - Math.min(have, KEPT)));
}

const LINE = /^\+[\d.]+ \[\d+ (?<source>\S+)\] "(?<name>[^"]*)"(?: "(?<first>(?:[^"\\]|\\.)*))?/;

function parse(text: string): MonitorLine | undefined {
  const { source, name, first = "" } = LINE.exec(text)?.groups ?? {};
  return source === undefined || name === undefined ? undefined : { source, name, first };
}
