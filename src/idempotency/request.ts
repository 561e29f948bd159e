// What is read of a request: of fetch, Hono's context, or an event of API Gateway or a load balancer.

/** What is used of Hono's context. */
interface HonoContext {
  req: { raw: Request; arrayBuffer(): Promise<ArrayBuffer> };
}

/** What is used of an event of API Gateway, version 1 or 2, or of a load balancer. */
interface HttpEvent {
  httpMethod?: string;
  path?: string;
  rawPath?: string;
  headers?: Record<string, string | undefined> | null;
  multiValueHeaders?: Record<string, string[] | undefined> | null;
  requestContext?: { http?: { method?: string } };
  body?: unknown;
  isBase64Encoded?: boolean;
}

function isHono(input: unknown): input is HonoContext {
  return typeof Object(input).req?.arrayBuffer === "function" && Object(input).req.raw !== undefined;
}

/** Whether the handler answers by a `Response`. */
export function answersResponse(input: unknown): boolean {
  return isHono(input) || typeof Object(input).headers?.get === "function";
}

/** Method, path and the header; undefined without the header. Of a message or a record its id. */
export function keyOf(input: unknown): string | undefined {
  const {
    messageId,
    eventID = messageId,
    eventSourceARN = "",
    id,
    ack,
  } = Object(input) as Record<string, unknown>;
  if (typeof eventID === "string") return `${eventSourceARN} ${eventID}`;
  if (typeof ack === "function") return `${id}`;
  const name = "idempotency-key";
  if (answersResponse(input)) {
    const { headers, method, url } = isHono(input) ? input.req.raw : (input as Request);
    const value = headers.get(name)?.trim();
    return value && `${method} ${new URL(url, "http://localhost").pathname} ${value}`;
  }
  const event = Object(input) as HttpEvent;
  const all = { ...event.multiValueHeaders, ...event.headers };
  const found = Object.entries(all).find(([each]) => each.toLowerCase() === name)?.[1];
  const value = (Array.isArray(found) ? found[0] : found)?.trim();
  const method = event.httpMethod ?? event.requestContext?.http?.method ?? "";
  return value && `${method} ${event.rawPath ?? event.path ?? ""} ${value}`;
}

/**
 * What a fingerprint is made of. A request's body stays there to be read by the handler. Undefined for a message's that
 * JSON cannot say, such as a bigint.
 */
export async function bodyOf([input]: readonly unknown[]): Promise<Uint8Array | undefined> {
  if (answersResponse(input)) {
    const request = isHono(input) ? input.req.raw : (input as Request);
    // Hono keeps what its context read of a body, as for a key.
    if (isHono(input) && request.bodyUsed) return new Uint8Array(await input.req.arrayBuffer());
    return new Uint8Array(request.body ? await request.clone().arrayBuffer() : []);
  }
  const { body, isBase64Encoded } = Object(input) as HttpEvent;
  try {
    const text = typeof body === "string" ? body : JSON.stringify(body ?? "");
    return isBase64Encoded ? fromBase64(text) : new TextEncoder().encode(text);
  } catch {
    return undefined;
  }
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0));
}

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
