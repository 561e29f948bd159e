// Answers as they are kept, and given again: those of fetch as `{ status, headers, body }` with the body in base64, a
// result of Lambda as it is, but for its headers.
import { type LockError, LockOptionError, printable } from "../errors.ts";
import { whenAborted } from "../runtime.ts";
import { answersResponse, fromBase64, toBase64 } from "./request.ts";

/** Which answers are kept, and what of them. */
export interface Kept {
  keepIf(status: number): boolean;
  allowed: readonly string[];
  maxBytes: number;
}

/** The lock under which a body is read. */
interface Reading {
  /** Says that the body got on: its lock is renewed only then. */
  progress(): void;
  /** Of the lock. What is read of a body when it aborts is not kept. */
  signal: AbortSignal;
}

/** What becomes of an answer: what is handed on, and what is kept, if it is. */
interface Keeping {
  answer: unknown;
  text?: unknown;
  /** Why it is not kept. */
  error?: Error;
}

const replayed = "Idempotency-Replayed";

/** @param success whether the adapter takes it for one that did not fail */
export async function keep(answer: unknown, success: boolean, kept: Kept & Reading): Promise<Keeping> {
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

async function keepResponse(
  response: Response,
  { keepIf, allowed, maxBytes, ...reading }: Kept & Reading,
): Promise<Keeping> {
  const { status } = response;
  if (!keepIf(status)) return { answer: response };
  const read = await readUpTo(response, maxBytes, reading);
  if ("rest" in read) return { answer: new Response(read.rest, response), ...read.why };
  const headers = [...response.headers].filter(([name]) => allowed.includes(name));
  const body = read.bytes && toBase64(read.bytes);
  return { answer: new Response(read.bytes, response), text: { response: { status, headers, body } } };
}

/**
 * A body's bytes, null for none; or all of it as a stream, if it is longer, fails, or its lock ends meanwhile, and why.
 */
async function readUpTo({ body }: Response, most: number, { progress, signal }: Reading) {
  if (!body) return { bytes: null };
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  let next = reader.read();
  let forget = () => {};
  const ended = new Promise<"ended">((resolve) => {
    forget = whenAborted(signal, () => resolve("ended"));
  });
  let why: { error?: Error } = {};
  try {
    for (;;) {
      const read = await Promise.race([next, ended]);
      if (read === "ended") break;
      if (read.done) return { bytes: new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer()) };
      progress();
      chunks.push(read.value);
      length += read.value.length;
      next = reader.read();
      if (length <= most) continue;
      const fits = `at most maxBytes (${most})`;
      why = { error: new LockOptionError("result", `more than ${most} bytes`, fits) };
      break;
    }
  } catch (error) {
    why = { error: error as Error };
  } finally {
    forget();
  }
  // If it fails, that is told to whoever reads on.
  next.catch(() => {});
  const rest = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const chunk = chunks.shift();
      if (chunk) return controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
      const { done, value } = await next;
      if (done) return controller.close();
      next = reader.read();
      next.catch(() => {});
      controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return { rest, why };
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
  const name = listsHeaders(input) ? "multiValueHeaders" : "headers";
  return { ...event, [name]: { ...event[name], ...headersFor(input, { [replayed]: "true" }) } };
}

/** Whether it is an event of a load balancer that sends lists of headers: it reads lists alone. */
function listsHeaders(input: unknown): boolean {
  return Object(input).multiValueHeaders && !Object(input).headers;
}

function headersFor(input: unknown, headers: Record<string, string>): Record<string, string | string[]> {
  if (!listsHeaders(input)) return headers;
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
}

/** An answer in the handler's place, as JSON. */
export function refusal(
  statusCode: number,
  { code, message, headers }: LockError,
  [input]: readonly unknown[],
): unknown {
  const body = JSON.stringify({ code, message: printable(message) });
  const all = {
    ...(statusCode === 409 && { "Retry-After": "1" }),
    ...headers,
    "Content-Type": "application/json",
  };
  if (answersResponse(input)) return new Response(body, { status: statusCode, headers: all });
  const name = listsHeaders(input) ? "multiValueHeaders" : "headers";
  return { statusCode, [name]: headersFor(input, all), body };
}
