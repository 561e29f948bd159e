import type { Context, MiddlewareHandler } from "hono";
import type { Lock } from "../api.ts";
import { attempt, ofRequest, type ResponseOptions, respond } from "./response.ts";
import { locking } from "./run.ts";

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
  const locked = locking<[Context], Response>(options);
  return async function lockMiddleware(c, next) {
    const about = ofRequest(c.req.raw, [attempt(() => c.executionCtx)]);
    const response = await respond(options.ifBusy, locked, [c], about, {
      outer: c.get("lock"),
      place: (lock) => c.set("lock", lock),
      async work() {
        await next();
        return c.res;
      },
      failed: () => c.error !== undefined,
    });
    if (!c.finalized) return response;
    if (response === c.res) return;
    // Otherwise Hono adds the headers of the former response to those of the new one.
    c.res = undefined;
    c.res = response;
  };
}
