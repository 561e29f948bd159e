import type { IncomingMessage, ServerResponse } from "node:http";
import type { FaultDice } from "./fault-dice.ts";
import type { RequestFault } from "./faults.ts";

/** One request at the gate, in both shapes, and what executes it. */
export interface Exchange {
  request: Request;
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  execute(request: Request): Response | Promise<Response>;
}

/** Lets a command's request meet what the dice say. */
export async function faultyCommand(dice: FaultDice, exchange: Exchange): Promise<Response> {
  const { request, incoming, outgoing, execute } = exchange;
  const fault = dice.request();
  if (fault === undefined) return execute(request);
  const { socket } = incoming;
  const delay = dice.delay();
  const faults: Record<RequestFault, () => Response | Promise<Response>> = {
    async dropRequest() {
      // Closed with something unread, the connection would be reset.
      await request.arrayBuffer().catch(() => {});
      socket.destroy();
      return answered();
    },
    async dropReply() {
      await execute(request);
      socket.destroy();
      return answered();
    },
    async delayReply() {
      const reply = await execute(request);
      await new Promise<void>((resolve) => setTimeout(resolve, delay).unref());
      return reply;
    },
    async repeat() {
      await execute(request.clone());
      return execute(request);
    },
    status429: () => html(429, "Too Many Requests"),
    status500: () => html(500, "Internal Server Error"),
    status503: () => html(503, "Service Unavailable"),
    async cutBody() {
      const reply = await execute(request);
      const body = Buffer.from(await reply.arrayBuffer());
      const headers = { ...Object.fromEntries(reply.headers), "content-length": body.length };
      outgoing.writeHead(reply.status, headers);
      outgoing.write(body.subarray(0, body.length / 2), () => socket.destroy());
      return answered();
    },
    reset() {
      socket.resetAndDestroy();
      return answered();
    },
  };
  return faults[fault]();
}

/** The same for the request of an event stream. */
export async function faultyStream(dice: FaultDice, exchange: Exchange): Promise<Response> {
  const { fault, cutAfter } = dice.stream();
  if (fault === "sseRefuse") return html(503, "Service Unavailable");
  if (fault === "sseStall") {
    return new Response(new ReadableStream(), { headers: { "Content-Type": "text/event-stream" } });
  }
  if (fault === "sseCut") {
    const { incoming, outgoing } = exchange;
    const timer = setTimeout(() => incoming.socket.destroy(), cutAfter).unref();
    // A client that left before may go on with the connection.
    outgoing.once("close", () => clearTimeout(timer));
  }
  return exchange.execute(exchange.request);
}

/** Tells @hono/node-server that nothing is left to send. */
const answered = () => new Response(null, { headers: { "x-hono-already-sent": "true" } });

/** As a gateway in front of Upstash answers. */
function html(status: number, title: string): Response {
  const page = `<!DOCTYPE html>\n<html><head><title>${status} ${title}</title></head><body><h1>${title}</h1></body></html>\n`;
  return new Response(page, { status, headers: { "Content-Type": "text/html; charset=utf-8" } });
}
