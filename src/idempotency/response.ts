// Answers as they are kept, and given again: those of fetch as `{ status, headers, body }` with the body in base64, a
// result of Lambda as it is, but for its headers.
import { LockOptionError, printable } from "../errors.ts";
import { answersResponse, fromBase64, toBase64 } from "./request.ts";

/** Which answers are kept, and what of them. */
export interface Kept {
  keepIf(status: number): boolean;
  allowed: readonly string[];
  maxBytes: number;
}

/** What becomes of an answer: what is handed on, and what is kept, if it is. */
interface Keeping {
  answer: unknown;
  text?: unknown;
  /** Why it is not kept. */
  error?: Error;
}

const replayed = "idempotency-replayed";

/** @param success whether the adapter takes it for one that did not fail */
export async function keep(answer: unknown, success: boolean, kept: Kept): Promise<Keeping> {
  if (answer instanceof Response)
    return success || answer.status >= 500 ? keepResponse(answer, kept) : { answer };
  const result = Object(answer) as { statusCode?: unknown; body?: unknown };
  const status = Number(result.statusCode ?? 200);
  if (!kept.keepIf(status) || (!success && status < 500)) return { answer };
  if (result.statusCode === undefined) return { answer, text: { result: answer } };
  if (typeof Object(result.body).pipe === "function" || typeof Object(result.body).getReader === "function")
    return { answer, error: new LockOptionError("result", "a stream", "a body that is a text") };
  const { headers, multiValueHeaders, cookies: _, ...others } = answer as Record<string, object | undefined>;
  const only = (all: object | undefined) =>
    all &&
    Object.fromEntries(Object.entries(all).filter(([name]) => kept.allowed.includes(name.toLowerCase())));
  return {
    answer,
    text: { event: { ...others, headers: only(headers), multiValueHeaders: only(multiValueHeaders) } },
  };
}

async function keepResponse(response: Response, { keepIf, allowed, maxBytes }: Kept): Promise<Keeping> {
  const { status } = response;
  if (!keepIf(status)) return { answer: response };
  const read = await readUpTo(response, maxBytes);
  if ("rest" in read) {
    const error = new LockOptionError(
      "result",
      `more than ${maxBytes} bytes`,
      `at most maxBytes (${maxBytes})`,
    );
    return { answer: new Response(read.rest, response), error };
  }
  const headers = [...response.headers].filter(([name]) => allowed.includes(name));
  const body = read.bytes && toBase64(read.bytes);
  return { answer: new Response(read.bytes, response), text: { response: { status, headers, body } } };
}

/** A body's bytes, null for none; or all of it as a stream, if it is longer or fails. */
async function readUpTo({ body }: Response, most: number) {
  if (!body) return { bytes: null };
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    while (length <= most) {
      const { done, value } = await reader.read();
      if (done) return { bytes: new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer()) };
      chunks.push(value);
      length += value.length;
    }
  } catch {
    // The next read fails again, in its reader's hands.
  }
  const rest = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const chunk = chunks.shift();
      const { done, value } = chunk ? { done: false, value: chunk } : await reader.read();
      if (done) controller.close();
      else controller.enqueue(value as Uint8Array<ArrayBuffer>);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { rest };
}

/** A kept answer for another request. */
export function readReply(stored: unknown, [input]: readonly unknown[]): unknown {
  const { response, event, result } = Object(stored);
  if (response) {
    const headers = new Headers(response.headers);
    headers.set(replayed, "true");
    const body = typeof response.body === "string" ? fromBase64(response.body) : null;
    return new Response(body, { status: response.status, headers });
  }
  if (!event) return result;
  const header = { [replayed]: "true" };
  // A load balancer that sends lists of headers reads lists alone.
  const lists = Object(input).multiValueHeaders && !Object(input).headers;
  if (lists) return { ...event, multiValueHeaders: { ...event.multiValueHeaders, [replayed]: ["true"] } };
  return { ...event, headers: { ...event.headers, ...header } };
}

/** An answer in the handler's place, as JSON. */
export function refusal(
  status: number,
  { code, message, headers }: { code: string; message: string; headers?: Record<string, string> },
  [input]: readonly unknown[],
): unknown {
  const body = JSON.stringify({ code, message: printable(message) });
  const all = {
    ...headers,
    ...(status === 409 && !headers?.["Retry-After"] ? { "Retry-After": "1" } : {}),
    "Content-Type": "application/json",
  };
  if (answersResponse(input)) return new Response(body, { status, headers: all });
  return { statusCode: status, headers: all, body };
}
