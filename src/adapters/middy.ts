import { LockBusyError, LockOptionError, LockUnavailableError, show } from "../errors.ts";
import type { HeldLock, Lock } from "../lock.ts";
import { type AdapterOptions, Guard } from "./run.ts";
import { heldToEnd } from "./stream.ts";

export type LockMiddlewareOptions<Event = unknown> = AdapterOptions<
  [event: Event, context: LambdaContext],
  unknown
>;

/** A lock of `@upstash/lock`, or anything that takes and releases like one. */
export interface ReadyMadeLock {
  readonly id?: string;
  acquire(): Promise<boolean>;
  release(): Promise<boolean>;
}

/** Takes locks made by the caller, who sets their options: there is no renewal, no `signal` and no cap. */
export interface ReadyMadeLockOptions<Event = unknown, L extends ReadyMadeLock = ReadyMadeLock> {
  lock: (event: Event, context: LambdaContext) => L;
  ifBusy?: LockMiddlewareOptions<Event>["ifBusy"];
}

/** What is used and handed on of Lambda's context, as `@types/aws-lambda` describes it. */
export interface LambdaContext {
  callbackWaitsForEmptyEventLoop: boolean;
  functionName: string;
  functionVersion: string;
  invokedFunctionArn: string;
  memoryLimitInMB: string;
  awsRequestId: string;
  logGroupName: string;
  logStreamName: string;
  getRemainingTimeInMillis(): number;
  done(error?: Error, result?: unknown): void;
  fail(error: Error | string): void;
  succeed(messageOrObject: unknown, object?: unknown): void;
}

/** What middy hands to a middleware, in all its majors. */
export interface MiddyRequest<Event, Context> {
  event: Event;
  context: Context;
  // biome-ignore lint/suspicious/noExplicitAny: middy's own type, from which the handler's result is inferred
  response: any;
  error: Error | null | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  internal: any;
}

export interface LockMiddleware<Event, L> {
  before(request: MiddyRequest<Event, LambdaContext & { lock: L }>): Promise<unknown>;
  after(request: MiddyRequest<Event, LambdaContext & { lock: L }>): Promise<void>;
  onError(request: MiddyRequest<Event, LambdaContext & { lock: L }>): Promise<void>;
}

/**
 * A middy middleware (5, 6 and 7): takes the lock before the handler, releases it after, and puts it at
 * `context.lock`. Register it last, with the handler after it: an early response of a middleware registered
 * later would keep the lock until its lease ends.
 *
 * @example
 * export const handler = middy()
 *   .use(httpErrorHandler())
 *   .use(lockMiddleware({ key: (event: APIGatewayProxyEventV2) => `order:${event.pathParameters?.id}` }))
 *   .handler(async (event, context) => charge(event, context.lock.signal));
 *
 * @throws LockOptionError here, when an option is wrong
 */
// biome-ignore lint/suspicious/noExplicitAny: an event nobody described is any, as with middy itself
export default function lockMiddleware<Event = any, L extends ReadyMadeLock = ReadyMadeLock>(
  options: ReadyMadeLockOptions<Event, L>,
): LockMiddleware<Event, L>;
// biome-ignore lint/suspicious/noExplicitAny: as above
export default function lockMiddleware<Event = any>(
  options: LockMiddlewareOptions<Event>,
): LockMiddleware<Event, Lock>;
export default function lockMiddleware<Event>(
  options: LockMiddlewareOptions<Event> | ReadyMadeLockOptions<Event>,
): LockMiddleware<Event, Lock | ReadyMadeLock> {
  return "lock" in options ? withReadyMade(options) : withLocker(options);
}

type Request<Event, L> = MiddyRequest<Event, LambdaContext & { lock: L }>;

function withLocker<Event>(options: LockMiddlewareOptions<Event>): LockMiddleware<Event, Lock> {
  const guard = new Guard(options);
  // By request: one process may run many invocations at once.
  const locks = new WeakMap<object, HeldLock>();

  const end = async (request: Request<Event, Lock>, success: boolean) => {
    const lock = locks.get(request);
    locks.delete(request);
    if (lock) await guard.leave(lock, success);
  };

  async function lockBefore(request: Request<Event, Lock>) {
    const { event, context } = request;
    refuseDurable(context);
    const lifetime = remainingTime(context);
    const owner = context.functionName && `${context.functionName} ${context.awsRequestId ?? ""}`.trim();
    const entry = await guard.enter([event, context], { lifetime, owner });
    if (!entry.lock) return entry.response;
    locks.set(request, entry.lock);
    context.lock = entry.lock;
  }

  async function lockAfter(request: Request<Event, Lock>) {
    if (stillRunning(request)) return letLapse(locks.get(request));
    const held = heldToEnd(request.response, (success) => end(request, success));
    if (held) request.response = await held;
    else await end(request, true);
  }

  async function lockOnError(request: Request<Event, Lock>) {
    if (stillRunning(request)) return letLapse(locks.get(request));
    await end(request, false);
  }

  return { before: lockBefore, after: lockAfter, onError: lockOnError };
}

function withReadyMade<Event>(options: ReadyMadeLockOptions<Event>): LockMiddleware<Event, ReadyMadeLock> {
  const { lock: make, ifBusy = "throw" } = options;
  const others = Object.keys(options).filter((name) => name !== "lock" && name !== "ifBusy");
  if (others.length)
    throw new LockOptionError(others[0] as string, "beside `lock`", "the ready-made lock's own options");
  if (typeof make !== "function")
    throw new LockOptionError("lock", show(make), "a function that makes the lock");
  const locks = new WeakMap<object, ReadyMadeLock>();

  const end = async (request: Request<Event, ReadyMadeLock>) => {
    const lock = locks.get(request);
    locks.delete(request);
    await lock?.release().catch(() => false);
  };

  async function lockBefore(request: Request<Event, ReadyMadeLock>) {
    const { event, context } = request;
    refuseDurable(context);
    const lock = make(event, context);
    const key = lock.id ?? "";
    const acquired = await lock.acquire().catch((error: Error) => {
      // @upstash/redis quotes the command, the lock's token included.
      throw new LockUnavailableError(key, new Error(error.message.split(", command was:", 1)[0]));
    });
    if (!acquired) {
      const error = new LockBusyError(key, {});
      if (ifBusy === "throw") throw error;
      return ifBusy === "skip" ? null : ifBusy(error, event, context);
    }
    locks.set(request, lock);
    context.lock = lock;
  }

  async function lockAfter(request: Request<Event, ReadyMadeLock>) {
    if (stillRunning(request)) return;
    const held = heldToEnd(request.response, () => end(request));
    if (held) request.response = await held;
    else await end(request);
  }

  async function lockOnError(request: Request<Event, ReadyMadeLock>) {
    if (!stillRunning(request)) await end(request);
  }

  return { before: lockBefore, after: lockAfter, onError: lockOnError };
}

function remainingTime(context: Partial<LambdaContext>): (() => number) | undefined {
  return context.getRemainingTimeInMillis && (() => context.getRemainingTimeInMillis?.() ?? 0);
}

/**
 * Whether middy gave up on a handler that may still be at work: releasing now would let two in. Its early
 * timeout throws a TimeoutError, or, where `timeoutEarlyResponse` was replaced, whatever that throws or
 * returns; but it comes within moments of the function's end, and there a lease ends by itself.
 */
function stillRunning({ error, context }: MiddyRequest<unknown, Partial<LambdaContext>>): boolean {
  const timedOut = error?.name === "TimeoutError" && error.message.startsWith("[AbortError]");
  return timedOut || (remainingTime(context)?.() ?? Number.POSITIVE_INFINITY) < 20;
}

function letLapse(lock: HeldLock | undefined): void {
  lock?.stopRenewing();
}

/** A durable function runs its middlewares again at every replay, between which it does not run at all. */
function refuseDurable(context: object): void {
  if (Symbol.for("@aws/durable-execution-sdk-js/durable-context") in context || "lambdaContext" in context) {
    throw new LockOptionError(
      "context",
      "that of a durable function",
      "a plain Lambda function: lock inside a step instead",
    );
  }
}
