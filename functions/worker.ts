import { lockFetch, lockQueue, lockScheduled, type WorkerMessage } from "serverless-lock/cloudflare";
import { oncePerTick } from "serverless-lock/schedule";

/** The bindings: a queue of wrangler.jsonc, and what `wrangler secret put` set. */
interface Env {
  ORDERS: { send(body: Order["body"]): Promise<unknown> };
  UPSTASH_REDIS_REST_URL: string;
  UPSTASH_REDIS_REST_TOKEN: string;
}

interface Order extends WorkerMessage {
  body: { order: string };
}

/** A Worker of Cloudflare: a route, a schedule and a queue, with a locker made from its bindings. */
export default {
  /** Charges an order, at whatever path, and has it shipped; its twins get a 423. */
  fetch: lockFetch(
    { key: (request: Request) => new URL(request.url).pathname },
    async (request, env: Env) => {
      const order = new URL(request.url).pathname;
      await work(800, request.lock.signal);
      await env.ORDERS.send({ order });
      return Response.json({ charged: order });
    },
  ),

  /** Once for each tick of its cron. */
  scheduled: lockScheduled({ ...oncePerTick("nightly-report") }, async (controller, _env: Env) => {
    await work(300, controller.lock.signal);
    console.log(`wrote the report of ${new Date(controller.scheduledTime).toISOString()}`);
  }),

  /** An order that is busy comes again when its holder's lease may be over. */
  queue: lockQueue({ key: (message: Order) => `order:${message.body.order}` }, async (message, _env: Env) => {
    await work(100, message.lock.signal);
    console.log(`shipped order ${message.body.order}`);
  }),
};

/** Stands for the real work. The signal stops it should the lock be lost. */
function work(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
