import { LockBusyError, LockError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import { type AdapterOptions, asOwner, attach, type End, type Guard, type Invocation, run } from "./run.ts";

/** Options of the adapters whose handler answers a `Request` with a `Response`. */
export interface ResponseOptions<Input extends unknown[]>
  extends Omit<AdapterOptions<Input, Response>, "ifBusy"> {
  /**
   * While another holds the lock: answer 423 with `Retry-After` and the error as JSON, answer 204 ("skip"), throw
   * a `LockBusyError`, or answer with what the function returns.
   * @default 423
   */
  ifBusy?: AdapterOptions<Input, Response>["ifBusy"];
}

/** Runs a handler under its lock, which is at `request.lock`, and kept to the end of the response's body. */
export async function respond<R extends Request, Rest extends unknown[]>(
  guard: Guard<[R, ...Rest], Response>,
  ifBusy: ResponseOptions<[R, ...Rest]>["ifBusy"],
  handler: (request: R & { lock: Lock }, ...rest: Rest) => Response | Promise<Response>,
  about: Invocation,
  request: R,
  ...rest: Rest
): Promise<Response> {
  const work = (lock: Lock) => handler(attach(request, lock), ...rest);
  const hold = (response: Response, end: End) => heldResponse(request, response, end);
  return run(guard, [request, ...rest], about, work, { hold }).then(skipped, (error) =>
    errorResponse(error, ifBusy),
  );
}

/** What stands in the place of a handler that was skipped. */
export function skipped(response: Response | null): Response {
  return response ?? new Response(null, { status: 204 });
}

/** The response that an error of a lock asks for. @throws any other error, and the busy one where that is wanted */
export function errorResponse(error: unknown, ifBusy: unknown): Response {
  const throws = error instanceof LockBusyError && ifBusy === "throw";
  if (throws || !(error instanceof LockError) || !error.statusCode) throw error;
  const { code, message, statusCode: status, headers } = error;
  return Response.json({ code, message }, { status, headers });
}

interface WithWaitUntil {
  waitUntil(work: Promise<unknown>): void;
}

/** What the platform knows of a request. @param rest may hold a context that can wait: Cloudflare's, Vercel's */
export function ofRequest({ headers }: Request, rest: readonly unknown[]): Invocation {
  const context = [...rest, ...ambient()].find(
    (each): each is WithWaitUntil => typeof (each as Partial<WithWaitUntil> | null)?.waitUntil === "function",
  );
  return {
    // Vercel's and Cloudflare's names of a request, with the region or colo in them.
    owner: asOwner(headers.get("x-vercel-id") ?? headers.get("cf-ray")),
    waitUntil: context && ((work) => context.waitUntil(work)),
  };
}

/** The contexts that Vercel, and Next.js where it serves itself, keep of the request at work. */
function ambient(): unknown[] {
  return ["@next/request-context", "@vercel/request-context"].map((name) => {
    const store = (globalThis as Record<symbol, { get?(): unknown } | undefined>)[Symbol.for(name)];
    return store?.get?.();
  });
}

/**
 * The response with a body that calls `end` before it closes: with true when it was read to its end, with false
 * when it failed or was cancelled. Nothing is buffered. Undefined where no body is going to be read.
 */
export function heldResponse({ method }: Request, response: Response, end: End): Response | undefined {
  if (!response.body || method === "HEAD") return undefined;
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
        } catch (error) {
          await end(false);
          throw error;
        }
        // A lock that was lost meanwhile makes the body fail.
        await end(true);
        controller.close();
      },
      async cancel(reason) {
        await reader.cancel(reason).finally(() => end(false));
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, response);
}
