import { LockBusyError, LockError, LockOptionError, show } from "../errors.ts";
import type { HeldLock, Lock } from "../lock.ts";
import {
  type AdapterOptions,
  asOwner,
  attach,
  type End,
  type Guard,
  type Invocation,
  underLock,
} from "./run.ts";
import { holdingWeb } from "./web-stream.ts";

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

/** What an adapter knows of a request. */
export interface RequestInvocation extends Invocation {
  /** Whether the platform sends no body, whatever the response has. */
  bodiless: boolean;
}

/** The work of a handler, and where it finds its lock. */
interface Handling {
  /** The lock that is there now. */
  outer: Lock | undefined;
  place(lock: Lock): unknown;
  work(): Response | Promise<Response>;
  /** Whether the response is what the framework made of an error. */
  failed?(): boolean;
}

/**
 * Runs a handler under its lock, which is kept to the end of the response's body.
 * @throws what the handler throws, and a LockBusyError where that is wanted
 */
export async function respond<Input extends unknown[]>(
  guard: Guard<Input, Response>,
  input: Input,
  about: RequestInvocation,
  { outer, place, work, failed = () => false }: Handling,
): Promise<Response> {
  const { ifBusy } = guard.options;
  let entered = false;
  try {
    const entry = await guard.enter(input, about);
    if (!entry.lock)
      return ifBusy === "skip" ? new Response(null, { status: 204 }) : readAnswer(entry.response);
    entered = true;
    const { lock } = entry;
    // Of two locks around one handler, the outer one comes back when the inner one has ended.
    const end: End = (success) => entry.end(success).finally(() => outer && place(outer));
    const run = () => {
      place(lock);
      return work();
    };
    return await underLock({ lock, end }, run, {
      succeeded: ({ status }) => status < 500 && !failed(),
      hold(response, end) {
        // A body that fails tells its reader little.
        const told: End = (success) =>
          end(success).catch((error) => {
            guard.report(error, input);
            throw error;
          });
        return failed() ? undefined : held(response, about, lock, told);
      },
      discard: drop,
    });
  } catch (error) {
    // The client left before its turn came. nginx has a status for that, which nobody sees.
    if (!entered && about.signal?.aborted) return new Response(null, { status: 499 });
    const throws = error instanceof LockBusyError && ifBusy === "throw";
    if (throws || !(error instanceof LockError)) throw error;
    const { code, message, expose, statusCode: status, headers } = error;
    if (status >= 500) guard.report(error, input);
    return Response.json({ code, message: expose ? message : undefined }, { status, headers });
  }
}

/** Runs a handler of requests under its lock, which is at `request.lock`. */
export async function respondTo<R extends Request, Rest extends unknown[]>(
  guard: Guard<[R, ...Rest], Response>,
  handler: (request: R & { lock: Lock }, ...rest: Rest) => Response | Promise<Response>,
  about: RequestInvocation,
  request: R,
  ...rest: Rest
): Promise<Response> {
  if (Object(request) !== request) throw new LockOptionError("request", show(request), "a Request");
  let locked = request as R & { lock: Lock };
  return respond(guard, [request, ...rest], about, {
    outer: locked.lock,
    place(lock) {
      locked = attach(request, lock);
    },
    work: () => handler(locked, ...rest),
  });
}

function readAnswer(answer: Response | null): Response {
  if (typeof answer?.status === "number") return answer;
  throw new LockOptionError("ifBusy", show(answer), "a Response");
}

interface WithWaitUntil {
  waitUntil(work: Promise<unknown>): unknown;
}

/** What the platform knows of a request. @param rest may hold a context that can wait: Cloudflare's, Vercel's */
export function ofRequest(request: Request, rest: readonly unknown[]): RequestInvocation {
  const context = [...rest, ...ambient()].find(
    (each) => typeof attempt(() => (each as WithWaitUntil).waitUntil) === "function",
  ) as WithWaitUntil | undefined;
  const signal = attempt(() => request.signal);
  return {
    // Vercel's and Cloudflare's names of a request, with the region or colo in them.
    owner: asOwner(attempt(() => request.headers.get("x-vercel-id") ?? request.headers.get("cf-ray"))),
    waitUntil: context && ((work) => context.waitUntil(work)),
    bodiless: attempt(() => request.method) === "HEAD",
    signal: typeof signal?.addEventListener === "function" ? signal : undefined,
  };
}

/** The contexts that Vercel, and Next.js where it serves itself, keep of the request at work. */
function ambient(): unknown[] {
  return ["@next/request-context", "@vercel/request-context"].map((name) => {
    const store = (globalThis as Record<symbol, { get(): unknown } | undefined>)[Symbol.for(name)];
    return attempt(() => store?.get());
  });
}

/** What a platform, or a test's mock of it, gives, or undefined where that throws. */
export function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/** Cancels a body that is not sent. What comes of that changes nothing. */
function drop(response: Response | undefined): void {
  attempt(() => response?.body?.cancel())?.catch(() => {});
}

/** The response with a body that keeps the lock to its end. Undefined if there is no body. */
function held(
  response: Response,
  { bodiless, signal }: RequestInvocation,
  lock: HeldLock,
  end: End,
): Response | Promise<Response> | undefined {
  if (!response.body) return undefined;
  if (!bodiless && !signal?.aborted)
    return new Response(holdingWeb(response.body, end, lock, signal), response);
  drop(response);
  return end(true).then(() => new Response(null, response));
}
