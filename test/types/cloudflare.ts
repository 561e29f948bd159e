// Type tests: this file is only compiled. A line under @ts-expect-error must be an error.
import { Redis } from "@upstash/redis/cloudflare";
import { createLocker, type Lock } from "serverless-lock";
import {
  lockFetch,
  lockQueue,
  lockScheduled,
  type WorkerBatch,
  type WorkerContext,
  type WorkerMessage,
  type WorkerSchedule,
} from "serverless-lock/cloudflare";

/** Holds only if the two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <_ extends true>() => {};

interface Env {
  UPSTASH_REDIS_REST_URL: string;
  UPSTASH_REDIS_REST_TOKEN: string;
  ORDERS: { send(order: string): Promise<void> };
}
/** More than is asked of a context, as the platform's own is. */
interface Context extends WorkerContext {
  passThroughOnException(): void;
}
const env = {} as Env;
const ctx = {} as Context;

const fetched = lockFetch(
  { key: (request: Request, env: Env) => `${request.url} ${env.ORDERS}` },
  async (request, env, ctx) => {
    const lock: Lock = request.lock;
    ctx.waitUntil(env.ORDERS.send(lock.key));
    // @ts-expect-error: not in the env
    env.CUSTOMERS;
    return new Response();
  },
);
same<Same<Parameters<typeof fetched>, [request: Request, env: Env, ctx: WorkerContext]>>();
const byHandler = lockFetch({ key: "k" }, (request: Request & { cf: object }, env: Env, ctx: Context) => {
  ctx.passThroughOnException();
  return Response.json([request.cf, env.UPSTASH_REDIS_REST_URL]);
});
same<Same<Parameters<typeof byHandler>, [request: Request & { cf: object }, env: Env, ctx: Context]>>();
// @ts-expect-error: an env of its own
fetched(new Request("http://a"), {}, ctx);

// A locker for each env: the function sees the handler's own.
lockFetch(
  { key: "k", locker: (env) => createLocker({ redis: Redis.fromEnv(env) }) },
  (_request: Request, _env: Env) => new Response(),
);
lockFetch(
  { key: "k", locker: (env: Env) => createLocker({ url: env.UPSTASH_REDIS_REST_URL, token: "t" }) },
  (_request, env) => {
    return new Response(String(env.ORDERS));
  },
);
lockFetch({ key: "k", locker: createLocker() }, () => new Response());
lockFetch(
  // @ts-expect-error: not in the env
  { key: "k", locker: (env) => createLocker({ url: env.REDIS }) },
  (_request: Request, _env: Env) => new Response(),
);
// @ts-expect-error: no locker
lockFetch({ key: "k", locker: () => Redis.fromEnv() }, () => new Response());
// @ts-expect-error: an answer is a Response
lockFetch({ key: "k", ifBusy: () => "busy" }, () => new Response());
lockFetch(
  { key: "k", ifBusy: (error, _request, env) => Response.json([error.owner, env.ORDERS]) },
  (_request: Request, _env: Env) => new Response(),
);

lockFetch(
  {
    key: async (request, env) => `${(await request.clone().json()) as string} ${env.ORDERS}`,
    onError: (error, _request, env) => env.ORDERS.send(error.message),
  },
  (_request: Request, _env: Env) => new Response(),
);
lockScheduled({ key: async ({ cron }) => cron, onError: (error) => console.error(error) }, () => {});
lockQueue({ key: async ({ id }) => id }, () => {});

const scheduled = lockScheduled(
  {
    key: (controller, env: Env) => `${controller.cron} ${controller.scheduledTime} ${env.ORDERS}`,
    ifBusy: "skip",
  },
  async (controller, env, ctx) => {
    const lock: Lock = controller.lock;
    ctx.waitUntil(env.ORDERS.send(lock.key));
  },
);
const done: Promise<void> = scheduled({ scheduledTime: 5, cron: "* * * * *" }, env, ctx);
/** As the platform's own. */
interface ScheduledController extends WorkerSchedule {
  noRetry(): void;
}
const own = lockScheduled({ key: "k" }, (controller: ScheduledController, _env: Env, ctx: Context) => {
  ctx.passThroughOnException();
  controller.noRetry();
});
same<Same<Parameters<typeof own>, [controller: ScheduledController, env: Env, ctx: Context]>>();
// @ts-expect-error: no answer to busy is a response here
lockScheduled({ key: "k", ifBusy: "busy" }, () => {});

/** As the platform's own. */
interface Message<Body> extends WorkerMessage {
  readonly body: Body;
  readonly attempts: number;
}
interface Batch<Body> extends WorkerBatch<Message<Body>> {
  ackAll(): void;
}
const queue = lockQueue(
  {
    key: (message: Message<{ order: string }>, env: Env) => `${message.body.order} ${env.ORDERS}`,
    concurrency: 5,
  },
  async (message, env, ctx) => {
    const lock: Lock = message.lock;
    ctx.waitUntil(env.ORDERS.send(message.body.order + lock.key));
    // @ts-expect-error: not in the body
    message.body.customer;
  },
);
const processed: Promise<void> = queue({} as Batch<{ order: string }>, env, ctx);
// @ts-expect-error: another body
queue({} as Batch<{ customer: string }>, env, ctx);
// @ts-expect-error: a busy message is retried
lockQueue({ key: "k", ifBusy: "skip" }, () => {});
// @ts-expect-error: no key
lockQueue({}, () => {});

// Or the platform's own type of all handlers tells each of them what it gets.
interface ExportedHandler<Env> {
  fetch(request: Request & { cf?: object }, env: Env, ctx: Context): Response | Promise<Response>;
  scheduled(controller: ScheduledController, env: Env, ctx: Context): void | Promise<void>;
  queue(batch: Batch<{ order: string }>, env: Env, ctx: Context): void | Promise<void>;
}
export default {
  fetch: lockFetch({ key: (request, env) => `${request.cf} ${env.ORDERS}` }, async (request, env, ctx) => {
    ctx.passThroughOnException();
    return Response.json([request.cf, request.lock.key, env.ORDERS]);
  }),
  scheduled: lockScheduled({ key: (controller) => controller.cron }, async (controller, env, ctx) => {
    ctx.passThroughOnException();
    controller.noRetry();
    await env.ORDERS.send(controller.lock.key);
  }),
  queue: lockQueue({ key: (message) => message.body.order }, async (message, env, ctx) => {
    ctx.passThroughOnException();
    await env.ORDERS.send(message.body.order + message.lock.key);
  }),
} satisfies ExportedHandler<Env>;

export { done, processed };
