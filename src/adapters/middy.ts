import { LockBusyError, LockOptionError, LockUnavailableError, show } from "../errors.ts";
import type { Lock } from "../lock.ts";
import { forever } from "../time.ts";
import { invocation, type LambdaContext, remainingTime } from "./lambda-context.ts";
import { type AdapterOptions, answerBusy, type End, Guard } from "./run.ts";
import { heldToEnd } from "./stream.ts";

export type { LambdaContext } from "./lambda-context.ts";

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
  return hooks<Event, Lock>({
    async enter(event, context) {
      const entry = await guard.enter([event, context], invocation(context));
      return entry.lock ? { ...entry, lapse: () => entry.lock.stopRenewing() } : entry;
    },
  });
}

function withReadyMade<Event>(options: ReadyMadeLockOptions<Event>): LockMiddleware<Event, ReadyMadeLock> {
  const { lock: make, ifBusy } = options;
  const others = Object.keys(options).filter((name) => name !== "lock" && name !== "ifBusy");
  if (others.length) throw new LockOptionError(others[0] as string, "beside `lock`", "in the lock made");
  if (typeof make !== "function") throw new LockOptionError("lock", show(make), "a function");

  return hooks<Event, ReadyMadeLock>({
    async enter(event, context) {
      invocation(context);
      const lock = make(event, context);
      const key = lock.id ?? "";
      const acquired = await lock.acquire().catch((error: Error) => {
        // @upstash/redis quotes the command, the lock's token included.
        throw new LockUnavailableError(key, new Error(error.message.split(", command was:", 1)[0]));
      });
      if (!acquired) return answerBusy(new LockBusyError(key, {}), ifBusy, [event, context]);
      const end = async () => {
        await lock.release().catch(() => false);
      };
      return { lock, end, lapse() {} };
    },
  });
}

/** A lock that was taken, whichever it is. */
interface Taken<L> {
  lock: L;
  end: End;
  /** Lets the lease run out. */
  lapse(): void;
}

/** A lock, whichever it is, around a handler. */
interface Around<Event, L> {
  enter(event: Event, context: LambdaContext): Promise<Taken<L> | { lock: undefined; response: unknown }>;
}

function hooks<Event, L extends object>({ enter }: Around<Event, L>): LockMiddleware<Event, L> {
  // By request: one process may run many invocations at once.
  const locks = new WeakMap<object, Taken<L>>();

  const end = async (request: Request<Event, L>, success: boolean) => {
    const taken = locks.get(request);
    locks.delete(request);
    await taken?.end(success);
  };

  async function lockBefore(request: Request<Event, L>) {
    const { event, context } = request;
    const entry = await enter(event, context);
    if (!("end" in entry)) return entry.response;
    locks.set(request, entry);
    context.lock = entry.lock;
  }

  async function lockAfter(request: Request<Event, L>) {
    if (lapses(request)) return;
    const held = heldToEnd(request.response, (success) => end(request, success));
    if (held) request.response = await held;
    else await end(request, true);
  }

  async function lockOnError(request: Request<Event, L>) {
    if (!lapses(request)) await end(request, false);
  }

  /**
   * Whether middy gave up on a handler that may still be at work: releasing now would let two in. Its early
   * timeout throws a TimeoutError, or, where `timeoutEarlyResponse` was replaced, whatever that throws or
   * returns; but it comes within moments of the function's end, and there a lease ends by itself.
   */
  function lapses(request: Request<Event, L>): boolean {
    const { error, context } = request;
    const timedOut = error?.name === "TimeoutError" && error.message.startsWith("[AbortError]");
    if (!timedOut && (remainingTime(context)?.() ?? forever) >= 20) return false;
    locks.get(request)?.lapse();
    return true;
  }

  return { before: lockBefore, after: lockAfter, onError: lockOnError };
}
