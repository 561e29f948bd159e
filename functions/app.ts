import { setTimeout } from "node:timers/promises";
import { Hono } from "hono";
import { lock } from "serverless-lock/hono";

/** `POST /orders/42/charge` with Hono: an order is charged by one request at a time; its twins get a 423. */
const app = new Hono();

app.post("/orders/:id/charge", lock({ key: (c) => `order:${c.req.param("id")}` }), async (c) => {
  await setTimeout(800, undefined, { signal: c.var.lock.signal });
  return c.json({ charged: c.req.param("id") });
});

export default app;
