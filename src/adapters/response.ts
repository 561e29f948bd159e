import type { Lock } from "../api.ts";
import { LockBusyError, LockError, LockOptionError, show } from "../errors.ts";
import { tell } from "../events.ts";
import { handOver } from "../invocation.ts";
import { whenAborted } from "../runtime.ts";
import {
  type AdapterOptions,
  asOwner,
  attach,
  isFailure,
  type Locking,
  once,
  report,
  runUnder,
  settle,
} from "./run.ts";
import { webStream } from "./stream.ts";
import { isResponse } from "./values.ts";

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
export interface RequestInvocation {
  owner: string | undefined;
  /** Lets clean-up go on after the response, the release too. If it throws, the release is waited for. */
  waitUntil: ((work: Promise<unknown>) => unknown) | undefined;
  /** Whether the platform sends no body, whatever the response has. */
  bodiless: boolean;
  /** Aborts when nobody waits for the response any more. Ends the wait and the acquire, and not the handler's work. */
  leaving: AbortSignal | undefined;
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
  ifBusy: ResponseOptions<Input>["ifBusy"],
  { enter, settings, onError }: Locking<Input, Response>,
  input: Input,
  about: RequestInvocation,
  { outer, place, work, failed = () => false }: Handling,
): Promise<Response> {
  const { leaving, waitUntil, bodiless } = about;
  const tellError = (error: LockError) => report(tell(onError, error, ...input), settings, about);
  let entered = false;
  let streams = false;
  try {
    const entry = await unlessAborted(leaving, settings.signal, (signal) =>
      enter(input, { ...about, signal }),
    );
    if (!entry.lock)
      return ifBusy === "skip" ? new Response(null, { status: 204 }) : readAnswer(entry.response);
    entered = true;
    const { lock } = entry;
    const finish = once(async (success) => {
      // A loss that is known is told by the answer.
      const goesOn = lock.held;
      // Of two locks around one handler, the outer one comes back when the inner one has ended.
      const finished = entry.finish(success).finally(() => outer && place(outer));
      // A body that fails tells its reader little.
      let unseen = streams;
      const told = finished.catch(async (error) => {
        if (unseen) await tellError(error);
      });
      if (goesOn && handOver(told, waitUntil)) unseen = true;
      else await told.then(() => finished);
    });
    const taken = { ...entry, finish };
    let thrown = false;
    const response = await runUnder(taken, async () => {
      place(lock);
      try {
        return await work();
      } catch (answer) {
        // As React Router's handlers throw a redirect: an answer, like one that is returned.
        if (!isResponse(answer)) throw answer;
        thrown = true;
        return answer;
      }
    });
    const settled = await settle(taken, response, {
      succeeded: ({ status }) => !isFailure(status) && !failed(),
      hold(response, taken) {
        const { body } = response;
        if (failed() || !body) return undefined;
        if (!bodiless && !leaving?.aborted) {
          streams = true;
          return new Response(webStream(body.getReader(), taken, leaving), response);
        }
        drop(response);
        return taken.finish(true).then(() => new Response(null, response));
      },
      discard: drop,
    });
    if (thrown) throw settled;
    return settled;
  } catch (error) {
    // The client left before its turn came. nginx has a status for that, which nobody sees.
    if (!entered && leaving?.aborted) return new Response(null, { status: 499 });
    const throws = error instanceof LockBusyError && ifBusy === "throw";
    if (throws || !(error instanceof LockError)) throw error;
    const { code, message, expose, statusCode: status, headers } = error;
    if (status >= 500) await tellError(error);
    return Response.json({ code, message: expose ? message : undefined }, { status, headers });
  }
}

/** Enters, unless `leaving` aborts before. Later only `own` has an effect on the lock. */
async function unlessAborted<Entry extends { lock: Lock | undefined }>(
  leaving: AbortSignal | undefined,
  own: AbortSignal | undefined,
  enter: (signal: AbortSignal | undefined) => Promise<Entry>,
): Promise<Entry> {
  if (!leaving) return enter(own);
  // Not AbortSignal.any: not every runtime has it, and some of those that do never let go of its signals.
  const either = new AbortController();
  const follow = (signal: AbortSignal | undefined) => whenAborted(signal, () => either.abort(signal?.reason));
  const forgetLeaving = follow(leaving);
  const forgetOwn = follow(own);
  let lock: Lock | undefined;
  try {
    const entry = await enter(either.signal);
    lock = entry.lock;
    return entry;
  } finally {
    forgetLeaving();
    if (lock) whenAborted(lock.signal, forgetOwn);
    else forgetOwn();
  }
}

/** Runs a handler of requests under its lock, which is at `request.lock`. */
export async function respondTo<R extends Request, Rest extends unknown[]>(
  ifBusy: ResponseOptions<[R, ...Rest]>["ifBusy"],
  locking: Locking<[R, ...Rest], Response>,
  handler: (request: R & { lock: Lock }, ...rest: Rest) => Response | Promise<Response>,
  about: RequestInvocation,
  request: R,
  ...rest: Rest
): Promise<Response> {
  if (Object(request) !== request) throw new LockOptionError("request", show(request), "a Request");
  let locked = request as R & { lock: Lock };
  return respond(ifBusy, locking, [request, ...rest], about, {
    outer: locked.lock,
    place(lock) {
      locked = attach(request, lock);
    },
    async work() {
      const answer = await handler(locked, ...rest);
      if (isResponse(answer)) return answer;
      throw new TypeError(`lockFetch: the handler returned ${show(answer)}, expected a Response`);
    },
  });
}

function readAnswer(answer: Response | null): Response {
  if (isResponse(answer)) return answer;
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
    leaving: typeof signal?.addEventListener === "function" ? signal : undefined,
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
function drop(response: Response): void {
  attempt(() => response.body?.cancel())?.catch(() => {});
}
