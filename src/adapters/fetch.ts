import type { Lock } from "../api.ts";
import { checkFunction } from "../options/rules.ts";
import { ofRequest, type ResponseOptions, respondTo } from "./response.ts";
import { locking } from "./run.ts";

export type LockFetchOptions<Input extends unknown[] = [request: Request]> = ResponseOptions<Input>;

/**
 * Wraps a handler that answers a `Request` with a `Response`: of Vercel, a Next.js route, Deno, Bun or Node. The
 * lock, at `request.lock`, is kept to the end of the response's body. Where the platform has a `waitUntil`, the
 * release does not delay the response.
 *
 * @example
 * export const POST = lockFetch({ key: (request: Request) => new URL(request.url).pathname }, async (request) =>
 *   Response.json(await charge(request, request.lock.signal)),
 * );
 *
 * @throws LockOptionError here, when an option is wrong
 */
// The handler says what it gets. A key of less, as that of `oncePerTick`, or of a request alone, does not.
export function lockFetch<R extends Request, Rest extends unknown[]>(
  options: LockFetchOptions<NoInfer<[request: R, ...rest: Rest]>>,
  handler: (request: R & { lock: Lock }, ...rest: Rest) => Response | Promise<Response>,
): (request: R, ...rest: Rest) => Promise<Response>;
export function lockFetch<R extends Request, Rest extends unknown[]>(
  options: LockFetchOptions,
  handler: (request: R & { lock: Lock }, ...rest: Rest) => Response | Promise<Response>,
): (request: R, ...rest: Rest) => Promise<Response>;
// The options say which request it is, the handler what comes with it.
export function lockFetch<R extends Request, Rest extends unknown[]>(
  options: LockFetchOptions<[request: R]>,
  handler: (request: R & { lock: Lock }, ...rest: Rest) => Response | Promise<Response>,
): (request: R, ...rest: Rest) => Promise<Response>;
export function lockFetch<R extends Request, Rest extends unknown[]>(
  options: LockFetchOptions<[request: R, ...rest: Rest]>,
  handler: (request: R & { lock: Lock }, ...rest: Rest) => Response | Promise<Response>,
): (request: R, ...rest: Rest) => Promise<Response>;
export function lockFetch<R extends Request, Rest extends unknown[]>(
  options: LockFetchOptions<[request: R, ...rest: Rest]>,
  handler: (request: R & { lock: Lock }, ...rest: Rest) => Response | Promise<Response>,
): (request: R, ...rest: Rest) => Promise<Response> {
  const locked = locking<[R, ...Rest], Response>(options);
  checkFunction("handler", handler);
  return async function lockedFetch(request, ...rest) {
    return respondTo(options.ifBusy, locked, handler, ofRequest(request, rest), request, ...rest);
  };
}
