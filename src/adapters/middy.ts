import { LockBusyError, LockOptionError, LockUnavailableError, show } from "../errors.ts";
import type { HeldLock, Lock } from "../lock.ts";
import {
  gaveUp,
  invocation,
  type LambdaContext,
  lockedContext,
  readContext,
  succeeded,
} from "./lambda-context.ts";
import { type AdapterOptions, answerBusy, type End, Guard } from "./run.ts";
import { discard, heldToEnd } from "./stream.ts";

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
 * `context.lock`. Register it last, with the handler after it: middy tells nobody of an early response of a middleware
 * registered later, so that its lock may stay until its lease ends. Several locks on one handler are each ended once.
 * A response with a `statusCode` of 5xx, or with `batchItemFailures`, is no success: nothing is kept for `holdFor`.
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
  return hooks<Event, Lock>(async (event, context) => {
    const entry = await guard.enter([event, context], invocation(context));
    return entry.lock ? { ...entry, renewed: entry.lock } : entry;
  });
}

function withReadyMade<Event>(options: ReadyMadeLockOptions<Event>): LockMiddleware<Event, ReadyMadeLock> {
  const { lock: make, ifBusy } = options;
  const others = Object.keys(options).filter((name) => name !== "lock" && name !== "ifBusy");
  if (others.length) throw new LockOptionError(others[0] as string, "beside `lock`", "in the lock made");
  if (typeof make !== "function") throw new LockOptionError("lock", show(make), "a function");

  return hooks<Event, ReadyMadeLock>(async (event, context) => {
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
    return { lock, end };
  });
}

/** A lock that was taken, whichever it is. */
interface Taken<L> {
  lock: L;
  end: End;
  /** The lock, if it is renewed. */
  renewed?: HeldLock;
}

/** Takes the lock, or says what to answer instead. */
type Enter<Event, L> = (
  event: Event,
  context: LambdaContext,
) => Promise<Taken<L> | { lock: undefined; response: unknown }>;

/** The locks of each request that are not ended, in their order. One process may run many invocations at once. */
const locksOf = new WeakMap<object, Set<Taken<unknown>>>();

function hooks<Event, L extends object>(enter: Enter<Event, L>): LockMiddleware<Event, L> {
  /** The lock that this middleware took for a request, with the context without it and with it. */
  const taken = new WeakMap<
    object,
    Taken<L> & { bare: LambdaContext; locked: LambdaContext & { lock: L } }
  >();

  const end = async (request: Request<Event, L>, success: boolean) => {
    const own = taken.get(request);
    taken.delete(request);
    if (!own) return;
    // What comes after this is under the lock of a middleware registered before, if there is one.
    if (request.context === own.locked) request.context = own.bare as typeof own.locked;
    if (locksOf.get(request)?.delete(own)) await own.end(success);
  };

  async function lockBefore(request: Request<Event, L>) {
    const bare: LambdaContext = readContext(request.context);
    const entry = await enter(request.event, bare);
    if ("response" in entry) {
      // middy ends the request here, and tells none of the middlewares before.
      await endEarly(request);
      // Of undefined it would make that the handler is to run.
      return entry.response ?? null;
    }
    const own = { ...entry, bare, locked: lockedContext(bare, entry.lock) };
    taken.set(request, own);
    locksOf.set(request, (locksOf.get(request) ?? watched(request)).add(own));
    request.context = own.locked;
  }

  async function lockAfter(request: Request<Event, L>) {
    const { response } = request;
    if (lapses(request)) return;
    const success = succeeded(response);
    const { renewed } = taken.get(request) ?? {};
    // A loss that is known is told in place of the response.
    const lost = renewed?.signal.aborted && renewed.lost;
    const held = lost ? undefined : heldToEnd(response, (whole) => end(request, whole && success), renewed);
    if (held) {
      request.response = held;
      return;
    }
    try {
      await end(request, success);
    } catch (error) {
      discard(response);
      throw error;
    }
  }

  async function lockOnError(request: Request<Event, L>) {
    if (!lapses(request)) await end(request, false);
  }

  /** Lets the lease run out where middy gave up on a handler that may still be at work: two would be let in. */
  function lapses(request: Request<Event, L>): boolean {
    if (!gaveUp(request.error, request.context)) return false;
    taken.get(request)?.renewed?.stopRenewing();
    return true;
  }

  return { before: lockBefore, after: lockAfter, onError: lockOnError };
}

/** Ends the locks of a request whose handler is not going to run. */
async function endEarly(request: object): Promise<void> {
  const locks = locksOf.get(request);
  for (const lock of [...(locks ?? [])].reverse()) {
    locks?.delete(lock);
    await lock.end(false);
  }
}

/**
 * The locks of a request from now on. Each phase of a request ends by setting its response, and an early response is
 * all that middy does of one: a middleware that is passed over hears nothing of it. So from there on locks are renewed
 * no more, and if it is known that the handler did not run, they are ended. middy 6 and 7 tell by `earlyResponse`.
 */
function watched(request: MiddyRequest<unknown, unknown>): Set<Taken<unknown>> {
  const locks = new Set<Taken<unknown>>();
  let { response } = request;
  let answered = false;
  Object.defineProperty(request, "response", {
    configurable: true,
    enumerable: true,
    get: () => response,
    set(value) {
      response = value;
      if (!answered && "earlyResponse" in request) endEarly(request).catch(() => {});
      if (!answered) for (const { renewed } of locks) renewed?.renewOnProgress();
      answered = true;
    },
  });
  return locks;
}
