import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** One HTTP request, as far as the API has a use for it. */
export interface ApiRequest {
  method: string;
  /** Path and query as the request line has them, still percent-encoded. */
  target: string;
  /** The path without percent-encoding, where that can be read. */
  path: string;
  /** @param name in lower case. */
  header(name: string): string | undefined;
  /** The whole body, read once however often it is asked for. */
  body(): Promise<Body>;
}

interface Body {
  /** Empty where the body is too large. */
  bytes: Buffer;
  /** In bytes, as it came. */
  size: number;
}

/** What a request is answered with. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string | Buffer | ReadableStream<Uint8Array>;
}

/** The client has left before its request was whole. */
export class ClientGone extends Error {}

/** Upstash's default limit, in bytes. */
export const MAX_BODY = 10 * 1024 * 1024;

export function readRequest(incoming: IncomingMessage): ApiRequest {
  // A proxy's form of the request line has the host too.
  const target = (incoming.url ?? "/").replace(/^[a-z]+:\/\/[^/?]*/i, "");
  const [path = ""] = target.split("?", 1);
  let body: Promise<Body> | undefined;
  return {
    method: incoming.method ?? "GET",
    target,
    path: path.includes("%") ? decoded(path) : path || "/",
    header: (name) => {
      const value = incoming.headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
    body: () => {
      body ??= readBody(incoming);
      return body;
    },
  };
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * One that is too large is read to its end all the same, and thrown away: a connection cut while the client still sends
 * would hide the answer from it.
 */
function readBody(incoming: IncomingMessage): Promise<Body> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    incoming.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_BODY) chunks.push(chunk);
      else chunks.length = 0;
    });
    const gone = () => reject(new ClientGone("The client has left"));
    incoming.once("error", gone).once("close", gone);
    incoming.once("end", () => {
      incoming.off("close", gone);
      const [only] = chunks;
      resolve({ bytes: chunks.length === 1 && only ? only : Buffer.concat(chunks), size });
    });
  });
}

export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Answer {
  return jsonText(JSON.stringify(value), status, headers);
}

export function jsonText(body: string, status = 200, headers: Record<string, string> = {}): Answer {
  return { status, headers: { "Content-Type": "application/json", ...headers }, body };
}

/** Resolves once all is handed over, or the client has left. */
export async function sendAnswer({ status, headers, body }: Answer, response: ServerResponse): Promise<void> {
  if (body instanceof ReadableStream) {
    response.writeHead(status, headers).flushHeaders();
    // Whoever leaves ends the stream.
    return pipeline(Readable.fromWeb(body as never), response).catch(() => {});
  }
  response.writeHead(status, { ...headers, "Content-Length": Buffer.byteLength(body) }).end(body);
}
