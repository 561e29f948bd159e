import type { IncomingMessage, ServerResponse } from "node:http";
import type { Answer, ApiRequest } from "./exchange.ts";
import type { FaultDice } from "./fault-dice.ts";
import type { RequestFault } from "./faults.ts";

/** One request at the gate, its connection, and what executes it. */
export interface Exchange {
  request: ApiRequest;
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  execute(): Promise<Answer>;
}

/** Lets a command's request meet what the dice say. Undefined: nothing is left to send. */
export async function faultyCommand(dice: FaultDice, exchange: Exchange): Promise<Answer | undefined> {
  const { request, incoming, outgoing, execute } = exchange;
  const fault = dice.request();
  if (fault === undefined) return execute();
  const { socket } = incoming;
  const delay = dice.delay();
  const faults: Record<RequestFault, () => Answer | undefined | Promise<Answer | undefined>> = {
    async dropRequest() {
      // Closed with something unread, the connection would be reset.
      await request.body().catch(() => {});
      socket.destroy();
      return undefined;
    },
    async dropReply() {
      await execute();
      socket.destroy();
      return undefined;
    },
    async delayReply() {
      const answer = await execute();
      await new Promise<void>((resolve) => setTimeout(resolve, delay).unref());
      return answer;
    },
    async repeat() {
      await execute();
      return execute();
    },
    status429: () => html(429, "Too Many Requests"),
    status500: () => html(500, "Internal Server Error"),
    status503: () => html(503, "Service Unavailable"),
    async cutBody() {
      const answer = await execute();
      const body = Buffer.from(answer.body as string);
      outgoing.writeHead(answer.status, { ...answer.headers, "Content-Length": body.length });
      outgoing.write(body.subarray(0, body.length / 2), () => socket.destroy());
      return undefined;
    },
    reset() {
      socket.resetAndDestroy();
      return undefined;
    },
  };
  return faults[fault]();
}

/** The same for the request of an event stream. */
export async function faultyStream(dice: FaultDice, exchange: Exchange): Promise<Answer | undefined> {
  const { fault, cutAfter } = dice.stream();
  if (fault === "sseRefuse") return html(503, "Service Unavailable");
  if (fault === "sseStall") {
    return { status: 200, headers: { "Content-Type": "text/event-stream" }, body: new ReadableStream() };
  }
  if (fault === "sseCut") {
    const { incoming, outgoing } = exchange;
    const timer = setTimeout(() => incoming.socket.destroy(), cutAfter).unref();
    // A client that left before may go on with the connection.
    outgoing.once("close", () => clearTimeout(timer));
  }
  return exchange.execute();
}

/** As a gateway in front of Upstash answers. */
function html(status: number, title: string): Answer {
  const body = `<!DOCTYPE html>\n<html><head><title>${status} ${title}</title></head><body><h1>${title}</h1></body></html>\n`;
  return { status, headers: { "Content-Type": "text/html; charset=utf-8" }, body };
}
