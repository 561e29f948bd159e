import { setTimeout } from "node:timers/promises";
import { lockFetch } from "serverless-lock/fetch";
import { oncePerTick } from "serverless-lock/schedule";

/** `POST /orders/42/charge`, as a function of Vercel or, in `app/orders/[id]/charge/route.ts`, a route of Next.js. */
export const POST = lockFetch(
  { key: (request: Request) => new URL(request.url).pathname },
  async (request) => {
    await setTimeout(800, undefined, { signal: request.lock.signal });
    return Response.json({ charged: new URL(request.url).pathname });
  },
);

/** `GET`, by a cron of Vercel: at 2 o'clock every night, once, also where two are sent. The second gets a 204. */
export const GET = lockFetch(
  { ...oncePerTick("nightly-report", { period: "1d", offset: "2h" }) },
  async (request) => Response.json({ report: request.lock.key }),
);
