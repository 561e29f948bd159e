import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What befalls a request on its way. */
export type Fault =
  /** Executed; its reply is lost with the connection. */
  | { lose: "reply" }
  /** Executed; no reply ever comes. */
  | { swallow: "reply" }
  /** Held until the promise resolves, and executed only then. */
  | { holdUntil: Promise<unknown> }
  /** Executed, and executed once more. */
  | { repeat: true }
  /** Never executed; answered with this. */
  | { answer: { status: number; type: string; body: string } }
  /** Never executed; the body breaks off. */
  | { cut: true }
  /** Never executed, never answered. */
  | { hang: true };

/** What befalls an event stream on its way. */
export type StreamFault =
  /** Not opened; answered with this status. */
  | { refuse: number }
  /** Never answered. */
  | { hang: true }
  /** Opened only when the promise has resolved. */
  | { openAfter: Promise<unknown> }
  /** Opened, as far as the client sees, and nothing ever comes. */
  | { silent: true }
  /** Ended after its first frame, properly or by a broken connection. */
  | { end: "closed" | "broken" }
  /** Each frame after the first is held until the promise resolves. */
  | { holdUntil: Promise<unknown> }
  /** This comes before and after each frame. */
  | { rubbish: string }
  /** Each frame comes twice. */
  | { duplicate: true };

/** One event stream a client asked for. */
interface Stream {
  channel: string;
  /** Whether the client was told that it listens. */
  confirmed: boolean;
  /** Until either side ends it. */
  open: boolean;
  /** Ends it without a word. */
  cut(): void;
}

export interface FaultyProxy {
  url: string;
  /** The event streams asked for, in order. */
  streams: Stream[];
  /** Every stream asked for from now on meets this fault, or none. */
  failStreams(fault: StreamFault | undefined): void;
  /** How many requests came so far that `matches`. */
  count(matches: (command: unknown[]) => boolean): number;
  /** Names of the commands that came, in order. */
  seen: string[];
  /** The next requests that `matches` meet these faults, one each; all others pass. */
  fail(matches: (command: unknown[]) => boolean, ...faults: Fault[]): void;
  /** Resolves when no request is on its way any more. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

/** A proxy on loopback in front of a REST server, which does to requests what a network does. */
export async function startProxy(target: string): Promise<FaultyProxy> {
  const planned: { matches: (command: unknown[]) => boolean; fault: Fault }[] = [];
  const seen: string[] = [];
  const commands: unknown[][] = [];
  const streams: Stream[] = [];
  let streamFault: StreamFault | undefined;
  const underway = new Set<Promise<void>>();

  const server = createServer((request, response) => {
    // Streams last as long as someone listens: `settled` does not wait for them.
    if (request.url?.startsWith("/subscribe/"))
      return void pass(request, response).catch(() => void response.destroy());
    const done = handle(request, response).catch(() => void response.destroy());
    underway.add(done);
    done.finally(() => underway.delete(done));
  });

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const channel = decodeURIComponent(request.url?.split("/").at(-1) ?? "");
    const stream = { channel, confirmed: false, open: true, cut: () => void response.destroy() };
    streams.push(stream);
    const closed = new AbortController();
    response.once("close", () => {
      stream.open = false;
      closed.abort();
    });
    const fault = streamFault;
    if (fault && "hang" in fault) return;
    if (fault && "refuse" in fault) {
      response.writeHead(fault.refuse, { "content-type": "application/json" });
      response.end('{"error":"ERR no streams here"}');
      return;
    }
    if (fault && "openAfter" in fault) await fault.openAfter;
    response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    if (fault && "silent" in fault) return;
    const reply = await fetch(target + request.url, { headers: headersOf(request), signal: closed.signal });
    let text = "";
    for await (const part of (reply.body as ReadableStream).pipeThrough(new TextDecoderStream())) {
      const frames = (text + part).split("\n\n");
      text = frames.pop() as string;
      for (const frame of frames) {
        if (fault && "holdUntil" in fault && stream.confirmed) await fault.holdUntil;
        const rubbish = fault && "rubbish" in fault ? fault.rubbish : "";
        response.write(`${rubbish}${frame}\n\n${rubbish}`);
        if (fault && "duplicate" in fault) response.write(`${frame}\n\n`);
        stream.confirmed = true;
        if (!(fault && "end" in fault)) continue;
        if (fault.end === "closed") return void response.end();
        // The frame is to get there first.
        await new Promise((resolve) => setImmediate(resolve));
        return void response.destroy();
      }
    }
    response.end();
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const command = parse(body);
    seen.push(String(command[0]).toUpperCase());
    commands.push(command);
    const index = planned.findIndex(({ matches }) => matches(command));
    const fault = index < 0 ? undefined : planned.splice(index, 1)[0]?.fault;

    const forward = () =>
      fetch(target + request.url, {
        method: request.method ?? "GET",
        headers: headersOf(request),
        ...(body.length > 0 && { body }),
      });

    if (fault && "hang" in fault) return;
    if (fault && "cut" in fault) {
      response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
      response.write('{"result":"');
      await new Promise((resolve) => setImmediate(resolve));
      response.destroy();
      return;
    }
    if (fault && "answer" in fault) {
      response.writeHead(fault.answer.status, { "content-type": fault.answer.type });
      response.end(fault.answer.body);
      return;
    }
    if (fault && "holdUntil" in fault) await fault.holdUntil;
    const reply = await forward();
    const text = await reply.text();
    if (fault && "repeat" in fault) await (await forward()).text();
    if (fault && "swallow" in fault) return;
    if (fault && "lose" in fault) return void response.destroy();
    const type = reply.headers.get("content-type") ?? "application/json";
    response.writeHead(reply.status, { "content-type": type }).end(text);
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    streams,
    failStreams: (fault) => {
      streamFault = fault;
    },
    count: (matches) => commands.filter(matches).length,
    fail: (matches, ...faults) => planned.push(...faults.map((fault) => ({ matches, fault }))),
    async settled() {
      while (underway.size > 0) await Promise.all(underway);
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** Matches requests that name this command, such as "SET" or "EVAL". */
export const command = (name: string) => (words: unknown[]) => String(words[0]).toUpperCase() === name;
export const anything = () => true;

/** Matches an operation of the protocol's script. */
const operation = (name: string) => (words: unknown[]) => command("EVAL")(words) && words.at(-1) === name;
export const isJoin = operation("join");
/** Of a holder, or of a waiter that leaves. */
export const isReleaseScript = operation("release");
export const isDelivery = operation("deliver");

function headersOf(request: IncomingMessage): Record<string, string> {
  const own = /^(host|connection|content-length|transfer-encoding)$/;
  const headers = Object.entries(request.headers).filter(([name]) => !own.test(name));
  return Object.fromEntries(headers) as Record<string, string>;
}

function parse(body: Buffer): unknown[] {
  try {
    const words: unknown = JSON.parse(body.toString());
    return Array.isArray(words) ? words : [];
  } catch {
    return [];
  }
}
