import type { Lock } from "../api.ts";
import { LockBusyError, LockOptionError, show } from "../errors.ts";
import { createLocker } from "../locker.ts";
import { checkFunction } from "../options/rules.ts";
import { type BatchOptions, batchProcessor, sentBack, unlessDone } from "./batch.ts";
import { ofRequest, type ResponseOptions, respondTo } from "./response.ts";
import {
  type AdapterOptions,
  asOwner,
  attach,
  type Invocation,
  type LockSource,
  type LockTarget,
  locking,
  runUnder,
  viewOf,
} from "./run.ts";

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
  locker?: LockSource | ((env: Env) => LockSource) | undefined;
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
  checkFunction("handler", handler);
  const lockingOf = fromEnv(options, (own) => locking<[R, Env, Context], Response>(own));
  return async function lockedFetch(request, env, ctx) {
    return respondTo(options.ifBusy, lockingOf(env), handler, ofRequest(request, [ctx]), request, env, ctx);
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
  checkFunction("handler", handler);
  const lockingOf = fromEnv(options, (own) =>
    locking<[Schedule, Env, Context], unknown>(own.take ? { ...own, ifBusy: unlessDone } : own),
  );
  return async function lockedScheduled(controller, env, ctx) {
    if (Object(controller) !== controller)
      throw new LockOptionError("controller", show(controller), "what `scheduled` gets");
    const about = inBackground(`scheduled ${controller.cron}`, ctx);
    const entry = await lockingOf(env).enter([controller, env, ctx], about);
    if (!entry.lock) return;
    await runUnder(entry, (lock) => handler(attach(controller, lock), env, ctx));
    await entry.keep?.(null, true, entry.progress);
    await entry.finish(true);
  };
}

/** Cloudflare delays a message for 12 hours at most. */
const longestDelay = 43_200;

/**
 * Wraps the `queue` handler of a Worker: each message is processed under a lock of its own, at `message.lock`, and
 * acknowledged or retried alone; one that found its lock busy no earlier than the holder's lease may end. One that the
 * handler retries itself is no success: nothing is kept.
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
  checkFunction("handler", processMessage);
  async function heedingRetry(message: Message & { lock: Lock }, env: Env, ctx: Context) {
    let result: unknown;
    const retry: Message["retry"] = (options) => {
      result = sentBack;
      message.retry(options);
    };
    await processMessage(viewOf(message, { retry }), env, ctx);
    return result;
  }
  const processorOf = fromEnv(options, (own) => batchProcessor<Message, [Env, Context]>(own, heedingRetry));
  return async function lockedQueue(batch, env, ctx) {
    const { queue, messages } = Object(batch) as typeof batch;
    if (!Array.isArray(messages)) throw new LockOptionError("batch", "no messages", "what `queue` gets");
    const { process, tell } = processorOf(env);
    await process({
      items: messages,
      rest: [env, ctx],
      about: inBackground(`queue ${queue}`, ctx),
      succeeded: (message) => message.ack(),
      async failed(message, error) {
        message.retry(retryOf(error));
        await tell(error, message);
      },
    });
  };
}

/** What is known of an invocation that nobody waits for. */
function inBackground(owner: string, ctx: WorkerContext): Invocation {
  return { owner: asOwner(owner), waitUntil: (work) => ctx.waitUntil(work) };
}

function retryOf(error: unknown): { delaySeconds?: number } {
  if (!(error instanceof LockBusyError) || !error.retryAfter) return {};
  return { delaySeconds: Math.min(longestDelay, Math.ceil(error.retryAfter / 1000)) };
}

/** What `make` makes of the options, with the locker of each `env` in them, made when that is seen first. */
function fromEnv<Env extends object, Options extends LockTarget<never>, Made>(
  options: FromEnv<Options, Env>,
  make: (options: Options) => Made,
): (env: Env) => Made {
  const all: typeof options = Object(options);
  const { locker = lockerFromEnv, redis, url, token } = all;
  if (redis || url || token || typeof locker !== "function") {
    const made = make(options as Options);
    return () => made;
  }
  const makeWith = (locker: LockSource) => make({ ...all, locker } as unknown as Options);
  // Options are checked before any `env` is seen.
  makeWith({ acquire: () => Promise.reject() });
  const ofEnv = new WeakMap<object, Made>();
  return (env) => {
    // A test may bring none.
    const key = Object(env);
    // One that forgets to return its locker is told so.
    const made = ofEnv.get(key) ?? makeWith(locker(env) ?? (null as never));
    ofEnv.set(key, made);
    return made;
  };
}

function lockerFromEnv(env: object): LockSource {
  const names = Object(env) as Record<string, string | undefined>;
  // As a pair: a token goes to the server it belongs to.
  const from = names.UPSTASH_REDIS_REST_URL ? "UPSTASH_REDIS_REST" : "KV_REST_API";
  return createLocker({ url: names[`${from}_URL`], token: names[`${from}_TOKEN`] });
}
