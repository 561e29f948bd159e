import { LockBusyError, LockOptionError, show } from "../errors.ts";
import type { Lock } from "../lock.ts";
import { createLocker, type Locker } from "../locker.ts";
import { type BatchOptions, batchOptions, batchProcessor } from "./batch.ts";
import { ofRequest, type ResponseOptions, respondTo } from "./response.ts";
import { type AdapterOptions, asOwner, attach, Guard, type Invocation, readHandler, run } from "./run.ts";

/** What is used of the `ctx` of a Worker. */
export interface WorkerContext {
  waitUntil(work: Promise<unknown>): void;
}

/** What is used of the first argument of `scheduled`. */
export interface WorkerSchedule {
  readonly scheduledTime: number;
  readonly cron: string;
}

/** What is used of a message of a queue. */
export interface WorkerMessage {
  readonly id: string;
  ack(): void;
  retry(options?: { delaySeconds?: number }): void;
}

export interface WorkerBatch<Message> {
  readonly queue: string;
  readonly messages: readonly Message[];
}

type FromEnv<Options, Env> = Omit<Options, "locker"> & {
  /**
   * What makes the locker of an `env`, once for an isolate, or a locker.
   * @default one of `env.UPSTASH_REDIS_REST_URL` and `_TOKEN`, or `env.KV_REST_API_URL` and `_TOKEN`
   */
  locker?: Locker | ((env: Env) => Locker) | undefined;
};

/**
 * Wraps the `fetch` handler of a Worker, as `lockFetch` of `serverless-lock/fetch` does, with a locker made from
 * `env`.
 *
 * @example
 * export default {
 *   fetch: lockFetch({ key: (request: Request) => new URL(request.url).pathname }, async (request, env: Env) =>
 *     Response.json(await charge(request, request.lock.signal)),
 *   ),
 * };
 *
 * @throws LockOptionError here, when an option is wrong
 */
export function lockFetch<R extends Request, Env extends object, Context extends WorkerContext>(
  options: FromEnv<ResponseOptions<[request: R, env: Env, ctx: Context]>, Env>,
  handler: (request: R & { lock: Lock }, env: Env, ctx: Context) => Response | Promise<Response>,
): (request: R, env: Env, ctx: Context) => Promise<Response> {
  const { guard, lockerOf } = guardFromEnv<Env, [R, Env, Context], Response>(options, handler);
  return async function lockedFetch(request, env, ctx) {
    const about = { ...ofRequest(request, [ctx]), locker: lockerOf(env) };
    return respondTo(guard, handler, about, request, env, ctx);
  };
}

/**
 * Wraps the `scheduled` handler of a Worker; the lock is at `controller.lock`. With `oncePerTick` of
 * `serverless-lock/schedule` each tick runs once.
 * @throws LockOptionError here, when an option is wrong
 */
export function lockScheduled<
  Schedule extends WorkerSchedule,
  Env extends object,
  Context extends WorkerContext,
>(
  options: FromEnv<AdapterOptions<[controller: Schedule, env: Env, ctx: Context], unknown>, Env>,
  handler: (controller: Schedule & { lock: Lock }, env: Env, ctx: Context) => unknown,
): (controller: Schedule, env: Env, ctx: Context) => Promise<void> {
  const { guard, lockerOf } = guardFromEnv<Env, [Schedule, Env, Context], unknown>(options, handler);
  return async function lockedScheduled(controller, env, ctx) {
    if (Object(controller) !== controller)
      throw new LockOptionError("controller", show(controller), "what `scheduled` gets");
    const about = inBackground(`scheduled ${controller.cron}`, lockerOf(env), ctx);
    await run(guard, [controller, env, ctx], about, (lock) => handler(attach(controller, lock), env, ctx));
  };
}

/** Cloudflare delays a message for 12 hours at most. */
const longestDelay = 43_200;

/**
 * Wraps the `queue` handler of a Worker: each message is processed under a lock of its own, at `message.lock`, and
 * acknowledged or retried alone; one that found its lock busy no earlier than the holder's lease may end.
 * @throws LockOptionError here, when an option is wrong
 */
export function lockQueue<
  Message extends WorkerMessage,
  Env extends object,
  Context extends WorkerContext = WorkerContext,
>(
  options: FromEnv<BatchOptions<Message, [env: Env, ctx: Context]>, Env>,
  processMessage: (message: Message & { lock: Lock }, env: Env, ctx: Context) => unknown,
): (batch: WorkerBatch<Message>, env: Env, ctx: Context) => Promise<void> {
  const { guard, lockerOf } = guardFromEnv<Env, [Message, Env, Context], unknown>(
    options,
    processMessage,
    batchOptions,
  );
  const process = batchProcessor<Message, [Env, Context]>(guard, options, processMessage);
  return async function lockedQueue(batch, env, ctx) {
    const { queue, messages } = Object(batch) as typeof batch;
    if (!Array.isArray(messages)) throw new LockOptionError("batch", "no messages", "what `queue` gets");
    const about = inBackground(`queue ${queue}`, lockerOf(env), ctx);
    const settled = (message: Message, failure?: { error: unknown }) => {
      if (failure) message.retry(retryOf(failure.error));
      else message.ack();
    };
    await process({ items: messages, rest: [env, ctx], about, settled });
  };
}

/** What is known of an invocation that nobody waits for. */
function inBackground(owner: string, locker: Locker | undefined, ctx: WorkerContext): Invocation {
  return {
    owner: asOwner(owner),
    locker,
    waitUntil: (work) => ctx.waitUntil(work),
    awaitsRelease: true,
  };
}

function retryOf(error: unknown): { delaySeconds?: number } {
  if (!(error instanceof LockBusyError) || !error.retryAfter) return {};
  return { delaySeconds: Math.min(longestDelay, Math.ceil(error.retryAfter / 1000)) };
}

/** The guard, and what gives it the locker of an `env`, made when that is seen first; null where it has one. */
function guardFromEnv<Env extends object, Input extends unknown[], Result>(
  options: FromEnv<AdapterOptions<Input, Result>, Env>,
  handler: unknown,
  own?: readonly string[],
) {
  readHandler(handler);
  const { locker = lockerFromEnv, redis, url, token } = options;
  const settled = redis || url || token || typeof locker !== "function";
  const made = new WeakMap<Env, Locker>();
  return {
    guard: new Guard(options as AdapterOptions<Input, Result>, own, settled ? undefined : null),
    lockerOf(env: Env): Locker | undefined {
      if (settled) return undefined;
      // A test may bring none.
      const key = Object(env) as Env;
      const known = made.get(key) ?? locker(env);
      made.set(key, known);
      return known;
    },
  };
}

function lockerFromEnv(env: object): Locker {
  const names = Object(env) as Record<string, string | undefined>;
  return createLocker({
    url: names.UPSTASH_REDIS_REST_URL || names.KV_REST_API_URL,
    token: names.UPSTASH_REDIS_REST_TOKEN || names.KV_REST_API_TOKEN,
  });
}
