// Answers as they are kept, and given again: those of fetch as `{ status, headers, body }` with the body in base64, a
// result of Lambda as it is, but for its headers.
import { isResponse } from "../adapters/values.ts";
import { type LockError, LockOptionError, printable } from "../errors.ts";
import { whenAborted } from "../runtime.ts";
import { answersResponse, fromBase64, toBase64 } from "./request.ts";

/** Which answers are kept, and what of them. */
export interface Kept {
  keepIf(status: number): unknown;
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
  const result = Object(answer) as { statusCode?: unknown; body?: unknown };
  const response = isResponse(answer) && answer;
  const status = response ? response.status : Number(result.statusCode ?? 200);
  if (!success && status < 500) return { answer };
  try {
    if (!(await kept.keepIf(status))) return { answer };
  } catch (error) {
    // The work was done: its caller gets the answer.
    return { answer, error: error as Error };
  }
  if (response) return keepResponse(response, kept);
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
  { allowed, maxBytes, ...reading }: Kept & Reading,
): Promise<Keeping> {
  const { status } = response;
  const { body, error } = await readUpTo(response, maxBytes, reading);
  const answer = body ? new Response(body, response) : response;
  if (error) return { answer, error };
  const headers = [...response.headers].filter(([name]) => allowed.includes(name));
  return { answer, text: { response: { status, headers, body: body && toBase64(body as Uint8Array) } } };
}

/** A body's bytes, null for none; or all of it as a stream, and why: it is longer, it fails, or its lock ends. */
async function readUpTo(
  { body }: Response,
  most: number,
  { progress, signal }: Reading,
): Promise<{ body: Uint8Array<ArrayBuffer> | ReadableStream | null; error?: Error }> {
  if (!body) return { body };
  const reader = body.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  let next: ReturnType<typeof reader.read> | undefined = reader.read();
  let forget = () => {};
  const ended = new Promise<never>((_, reject) => {
    forget = whenAborted(signal, () => reject(signal.reason));
  });
  try {
    while (length <= most) {
      const { done, value } = await Promise.race([next, ended]);
      if (done) return { body: new Uint8Array(await new Blob(chunks).arrayBuffer()) };
      progress();
      chunks.push(value);
      length += value.length;
      next = reader.read();
    }
    throw new LockOptionError("result", `more than ${most} bytes`, `at most maxBytes (${most})`);
  } catch (error) {
    // If it fails, that is told to whoever reads on.
    next?.catch(() => {});
    const rest = new ReadableStream({
      async pull(controller) {
        const chunk = chunks.shift();
        const { done, value } = chunk ? { value: chunk } : await (next ?? reader.read());
        if (!chunk) next = undefined;
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    });
    return { body: rest, error: error as Error };
  } finally {
    forget();
  }
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
  return { ...event, ...headersFor(input, { [replayed]: "true" }, event) };
}

/** Headers behind those of an answer. A load balancer that sends lists of headers reads lists alone. */
function headersFor(input: unknown, added: Record<string, string>, answer: { [name: string]: object } = {}) {
  const { headers, multiValueHeaders } = Object(input);
  if (headers || !multiValueHeaders) return { headers: { ...answer.headers, ...added } };
  const lists = Object.fromEntries(Object.entries(added).map(([name, value]) => [name, [value]]));
  return { multiValueHeaders: { ...answer.multiValueHeaders, ...lists } };
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
  return { statusCode, ...headersFor(input, all), body };
}
