import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** By Node's code for it; anything else is a 400. */
const REFUSALS: Record<string, [status: number, why: string]> = {
  HPE_HEADER_OVERFLOW: [431, "the request's headers are too large"],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, "the body's chunk extensions are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request took too long to come"],
};

/** Answers in the API's shape what Node itself would refuse without a word, and never hands to the app. */
export function answerMalformed(http: Server): void {
  const underWay = new WeakMap<Duplex, Set<ServerResponse>>();
  const refused = new WeakSet<Duplex>();
  const answer = (request: IncomingMessage, response: ServerResponse) =>
    http.emit("request", request, response);
  http.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const responses = underWay.get(request.socket) ?? new Set();
    underWay.set(request.socket, responses.add(response));
    response.once("close", () => responses.delete(response));
  });

  http.on("clientError", async (error: NodeJS.ErrnoException, socket: Socket) => {
    // Each further piece of what cannot be understood is one more such error.
    if (refused.has(socket)) return;
    refused.add(socket);
    // An answer out of turn would be taken for that of an earlier request on the same connection.
    const earlier = [...(underWay.get(socket) ?? [])].filter(({ req }) => req.complete);
    await Promise.all(earlier.map((response) => new Promise((resolve) => response.once("close", resolve))));
    refuse(socket, ...(REFUSALS[error.code ?? ""] ?? [400, "malformed HTTP"]));
  });
  http.on("connect", (_request, socket) => refuse(socket, 405, "method CONNECT is not allowed"));
  // An expectation that Node does not know is no reason not to answer.
  http.on("checkExpectation", answer);
  http.on("checkContinue", (request, response) => {
    // Node would write it into the midst of an earlier request's answer; a client has to do without, too.
    if (!underWay.get(request.socket)?.size) response.writeContinue();
    answer(request, response);
  });
}

function refuse(socket: Duplex, status: number, why: string): void {
  // Whoever is gone gets no answer.
  socket.on("error", () => {});
  if (!socket.writable) return void socket.destroy();
  const body = JSON.stringify({ error: `ERR ${why}` });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "Connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
