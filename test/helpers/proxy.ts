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

export interface FaultyProxy {
  url: string;
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
  const underway = new Set<Promise<void>>();

  const server = createServer((request, response) => {
    const done = handle(request, response).catch(() => void response.destroy());
    underway.add(done);
    done.finally(() => underway.delete(done));
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const command = parse(body);
    seen.push(String(command[0]).toUpperCase());
    const index = planned.findIndex(({ matches }) => matches(command));
    const fault = index < 0 ? undefined : planned.splice(index, 1)[0]?.fault;

    const forward = () =>
      fetch(target + request.url, {
        method: request.method ?? "GET",
        headers: Object.fromEntries(
          Object.entries(request.headers).filter(
            ([name]) => !/^(host|connection|content-length|transfer-encoding)$/.test(name),
          ),
        ) as Record<string, string>,
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

function parse(body: Buffer): unknown[] {
  try {
    const words: unknown = JSON.parse(body.toString());
    return Array.isArray(words) ? words : [];
  } catch {
    return [];
  }
}
