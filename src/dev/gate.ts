import type { HttpBindings } from "@hono/node-server";
import type { Context, Hono } from "hono";
import type { FaultDice } from "./fault-dice.ts";
import { readFaults } from "./faults.ts";
import { faultyCommand, faultyStream } from "./faults-http.ts";
import type { ApiBindings } from "./http.ts";
import type { Counter } from "./meter.ts";
import type { Network } from "./network.ts";
import type { Users } from "./users.ts";

export interface GateParts {
  users: Users;
  network: Network;
  dice: FaultDice;
  counter: Counter;
  /** Upstash's REST API. */
  api: Hono;
}

/** What a request passes on its way to the API: the network, the token, the faults. And `/meter` and `/faults`. */
export function addGate(app: Hono, { users, network, dice, counter, api }: GateParts): Hono {
  const userOf = (c: Context) => users.find(c.req.header("authorization"), c.req.query("_token"));
  const unauthorized = (c: Context) => c.json({ error: "WRONGPASS invalid or missing auth token" }, 401);

  // About the server, not of it: outside of the simulated network, not counted, and met by no fault.
  const admit = async (c: Context, next: () => Promise<void>) => {
    const user = userOf(c);
    if (!user) return unauthorized(c);
    if (user.readOnly && c.req.method !== "GET" && c.req.method !== "HEAD") {
      return c.json({ error: "NOPERM this token may read and nothing else" }, 403);
    }
    return next();
  };

  app.use("/meter", admit);
  app.get("/meter", (c) => c.json(counter.read()));
  app.delete("/meter", (c) => {
    counter.reset();
    return c.json(counter.read());
  });

  app.use("/faults", admit);
  const faults = (c: Context) => c.json({ set: dice.settings(), fired: dice.fired() });
  app.get("/faults", faults);
  app.post("/faults", async (c) => {
    const given = await c.req.json().catch(() => undefined);
    if (given === undefined) return c.json({ error: "ERR failed to parse faults: the body is no JSON" }, 400);
    try {
      dice.set(readFaults(given));
    } catch (error) {
      return c.json({ error: `ERR ${(error as Error).message}` }, 400);
    }
    return faults(c);
  });

  app.use(async (_c, next) => {
    const { goBack } = await network.arrive();
    await next();
    await goBack();
  });

  app.all("*", async (c) => {
    const user = userOf(c);
    if (!user) return unauthorized(c);
    const { incoming, outgoing } = c.env as HttpBindings;
    const meets = /^\/(p?subscribe(\/|$)|monitor\/?$)/.test(c.req.path) ? faultyStream : faultyCommand;
    const bindings: ApiBindings = { ...(c.env as HttpBindings), user };
    return meets(dice, {
      request: c.req.raw,
      incoming,
      outgoing,
      execute: (request) => api.fetch(request, bindings),
    });
  });

  return app;
}
