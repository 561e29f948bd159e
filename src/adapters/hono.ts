import type { Context, MiddlewareHandler } from "hono";
import type { Lock } from "../lock.ts";
import { errorResponse, heldResponse, ofRequest, type ResponseOptions, skipped } from "./response.ts";
import { type Entry, Guard } from "./run.ts";

export type LockOptions = ResponseOptions<[c: Context]>;

/**
 * A Hono middleware: takes the lock before the handlers behind it, puts it at `c.var.lock`, and keeps it to the
 * end of the response's body.
 *
 * @example
 * app.post("/orders/:id/charge", lock({ key: (c) => `order:${c.req.param("id")}` }), async (c) =>
 *   c.json(await charge(c.req.param("id"), c.var.lock.signal)),
 * );
 *
 * @throws LockOptionError here, when an option is wrong
 */
export function lock(options: LockOptions): MiddlewareHandler<{ Variables: { lock: Lock } }> {
  const guard = new Guard<[Context], Response>(options);
  return async function lockMiddleware(c, next) {
    const about = ofRequest(c.req.raw, [executionContext(c)]);
    let entry: Entry<Response>;
    try {
      entry = await guard.enter([c], about);
    } catch (error) {
      return errorResponse(error, options.ifBusy);
    }
    if (!entry.lock) return skipped(entry.response);
    const { lock, end } = entry;
    c.set("lock", lock);
    let response: Response | undefined;
    try {
      await next();
      if (!c.error) response = heldResponse(c.req.raw, c.res, end);
    } catch (error) {
      // Hono catches what is an Error; anything else that was thrown comes here.
      await end(false);
      throw error;
    }
    if (!response) return end(!c.error);
    // Otherwise Hono adds the headers of the former response to those of the new one.
    c.res = undefined;
    c.res = response;
  };
}

/** Hono throws where there is none, as on Node. */
function executionContext(c: Context): unknown {
  try {
    return c.executionCtx;
  } catch {
    return undefined;
  }
}
