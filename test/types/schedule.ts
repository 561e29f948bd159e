// Type tests: this file is only compiled. A line under @ts-expect-error must be an error.
import middy from "@middy/core";
import type { ScheduledEvent } from "aws-lambda";
import { Hono } from "hono";
import type { Lock } from "serverless-lock";
import { lockScheduled } from "serverless-lock/cloudflare";
import { lockFetch } from "serverless-lock/fetch";
import { lock } from "serverless-lock/hono";
import { lockHandler } from "serverless-lock/lambda";
import lockMiddleware from "serverless-lock/middy";
import { oncePerTick } from "serverless-lock/schedule";

const tick = oncePerTick("report");
const skip: "skip" = tick.ifBusy;

// Spread into the options of each adapter it leaves the handler's types as they are.
const onLambda = lockHandler({ ...tick }, async (event: ScheduledEvent, context) => {
  return `${event.time} ${context.lock.key} ${context.awsRequestId}`;
});
const run: Promise<string | null> = onLambda({} as ScheduledEvent, {} as Parameters<typeof onLambda>[1]);
// @ts-expect-error: a tick run before is null
const always: Promise<string> = onLambda({} as ScheduledEvent, {} as Parameters<typeof onLambda>[1]);
// @ts-expect-error: an event of its own
onLambda({ time: 5 }, {} as Parameters<typeof onLambda>[1]);

middy<ScheduledEvent>()
  .use(lockMiddleware({ ...tick, ttl: "1m" }))
  .handler(async (event, context) => `${event.time} ${context.lock.key}`);

// What `handleSchedule` of `@vercel/schedules` hands on, which comes without a context.
const onVercel = lockHandler(
  { ...tick },
  async (schedule: { scheduledAt: string }, { lock }: object & { lock: Lock }) => {
    return `${schedule.scheduledAt} ${lock.key}`;
  },
);
const dispatched: Promise<string | null> = onVercel({ scheduledAt: "2026-11-22T02:00:00Z" }, {});

interface Env {
  REPORTS: string;
}
const scheduled = lockScheduled({ ...tick }, async (controller, env: Env, ctx) => {
  ctx.waitUntil(
    Promise.resolve(`${controller.scheduledTime} ${controller.cron} ${controller.lock.key} ${env.REPORTS}`),
  );
});
// @ts-expect-error: an env of its own
scheduled({ scheduledTime: 5, cron: "* * * * *" }, {}, { waitUntil() {} });

const cron = oncePerTick("report", { period: "1d", offset: "2h", holdFor: "12h" });
const GET = lockFetch({ ...cron }, async (request) => new Response(request.url + request.lock.key));
const answer: Promise<Response> = GET(new Request("http://a"));

new Hono().get("/cron", lock({ ...cron, ttl: "30s" }), (c) => c.text(c.var.lock.key));

// @ts-expect-error: no name
oncePerTick();
// @ts-expect-error: a duration
oncePerTick("report", { period: "every day" });
// @ts-expect-error: an option of the adapter
oncePerTick("report", { ttl: "10s" });

export { always, answer, dispatched, run, skip };
