// Type tests: this file is only compiled. A line under @ts-expect-error must be an error.
import { type Context, Hono } from "hono";
import { hc } from "hono/client";
import { HTTPException } from "hono/http-exception";
import type { Lock } from "serverless-lock";
import { lock } from "serverless-lock/hono";

interface Env {
  Bindings: { ORDERS: string };
  Variables: { user: string };
}

const app = new Hono<Env>()
  .get("/", (c) => {
    // @ts-expect-error: without the middleware there is no lock
    c.var.lock;
    return c.text("hello");
  })
  // On one route, beside what the app has, and with its own parameters.
  .post("/orders/:id/charge", lock({ key: (c) => `order:${c.req.param("id")}` }), async (c) => {
    const held: Lock = c.var.lock;
    const same: Lock = c.get("lock");
    const id: string = c.req.param("id");
    const texts: string[] = [c.env.ORDERS, c.var.user, held.key, same.key];
    // @ts-expect-error: a lock has no such thing
    held.unlock();
    // @ts-expect-error: of which the path has none it is not sure
    const order: string = c.req.param("order");
    return c.json({ id, order, texts });
  });

// What the route answers is still known to a client.
const client = hc<typeof app>("http://a");
const charged: Promise<{ id: string; order: string; texts: string[] }> = client.orders[":id"].charge
  .$post({ param: { id: "42" } })
  .then((response) => response.json());

// In front of all routes behind it.
new Hono().use(lock({ key: "k", ttl: "10s" })).get("/", (c) => c.text(c.var.lock.key));
new Hono().use("/orders/*", lock({ key: (c) => c.req.path })).get("/orders", (c) => c.text(c.var.lock.key));

// Answers while it is busy.
lock({ key: "k", ifBusy: "skip" });
lock({ key: "k", ifBusy: (error, c) => c.json({ owner: error.owner }, 423) });
lock({
  key: "k",
  ifBusy() {
    throw new HTTPException(423);
  },
});
lock({ key: (c: Context<Env>) => c.var.user });
lock({
  key: async (c) => `event:${(await c.req.json()).id}`,
  onError: (error, c) => console.error(error, c.req.path),
});
// @ts-expect-error: an answer is a Response
lock({ key: "k", ifBusy: () => "busy" });
// @ts-expect-error: no key
lock({ ttl: "10s" });
// @ts-expect-error: a key is a text
lock({ key: (c) => c.req });
// @ts-expect-error: misspelt
lock({ key: "k", tll: "10s" });

export { charged };
