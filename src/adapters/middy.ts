import type { Lock } from "../api.ts";
import { LockBusyError, LockOptionError, LockUnavailableError, show } from "../errors.ts";
import type { Finish } from "../locker.ts";
import { checkFunction, isFunction } from "../options/rules.ts";
import {
  gaveUp,
  invocation,
  type LambdaContext,
  lockedContext,
  readContext,
  succeeded,
} from "./lambda-context.ts";
import { discard, heldToEnd } from "./node-stream.ts";
import { type AdapterOptions, answerBusy, checkIfBusy, locking, once, settle, type Taken } from "./run.ts";

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
 * A response with a `statusCode` of 5xx or 423, or with `batchItemFailures`, is no success: nothing is kept for `holdFor`.
 *
 * @example
 * export const handler = middy()
 *   .use(httpErrorHandler())
 *   .use(lockMiddleware({ key: (event: APIGatewayProxyEventV2) => `order:${event.pathParameters?.id}` }))
 *   .handler(async (event, context) => charge(event, context.lock.signal));
 *
 * @throws LockOptionError here, when an option is wrong
 */
// First and last: a target that a function of the first overload returns keeps its literal types, and an error is that
// of the last one.
// biome-ignore lint/suspicious/noExplicitAny: an event nobody described is any, as with middy itself
export default function lockMiddleware<Event = any>(
  options: LockMiddlewareOptions<Event>,
): LockMiddleware<Event, Lock>;
// biome-ignore lint/suspicious/noExplicitAny: as above
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
  const { lock } = Object(options) as Partial<ReadyMadeLockOptions<Event>>;
  return lock === undefined
    ? withLocker(options as LockMiddlewareOptions<Event>)
    : withReadyMade(options as ReadyMadeLockOptions<Event>);
}

type Request<Event, L> = MiddyRequest<Event, LambdaContext & { lock: L }>;

function withLocker<Event>(options: LockMiddlewareOptions<Event>): LockMiddleware<Event, Lock> {
  const { enter } = locking(options);
  return hooks<Event, Lock>((event, context) => enter([event, context], invocation(context)));
}

function withReadyMade<Event>(options: ReadyMadeLockOptions<Event>): LockMiddleware<Event, ReadyMadeLock> {
  const { lock: make, ifBusy, ...others } = options;
  for (const [name, value] of Object.entries(others))
    if (value !== undefined) throw new LockOptionError(name, "beside `lock`", "in the lock made");
  checkFunction("lock", make);
  checkIfBusy(ifBusy);

  return hooks<Event, ReadyMadeLock>(async (event, context) => {
    invocation(context);
    const lock = make(event, context);
    const { id: key = "", acquire, release } = Object(lock) as Partial<ReadyMadeLock>;
    if (!isFunction(acquire) || !isFunction(release))
      throw new LockOptionError("lock", show(lock), "one with acquire and release");
    const acquired = await (async () => lock.acquire())().catch((error: unknown) => {
      // @upstash/redis quotes the command, the lock's token included.
      const [said] = `${Object(error).message ?? error}`.split(", command was:", 1);
      throw new LockUnavailableError(key, new Error(said));
    });
    // One that resolves to nothing may hold the lock by now.
    if (typeof acquired !== "boolean")
      throw new LockOptionError("lock", `an acquire that gave ${show(acquired)}`, "true or false");
    if (!acquired) return answerBusy(new LockBusyError(key, {}), ifBusy, [event, context]);
    const finish = once(async () => {
      await (async () => lock.release())().catch(() => false);
    });
    // It is not renewed.
    return { lock, finish, pace() {}, progress() {} };
  });
}

/** Takes the lock, or says what to answer instead. */
type Enter<Event, L> = (
  event: Event,
  context: LambdaContext,
) => Promise<Taken<L> | { lock: undefined; response: unknown }>;

/** The locks of each request that are not ended, in their order. One process may run many invocations at once. */
const locksOf = new WeakMap<object, Set<Pick<Taken, "finish" | "pace">>>();

function hooks<Event, L extends object>(enter: Enter<Event, L>): LockMiddleware<Event, L> {
  /** The locks that this middleware took for a request, in their order: it may be registered twice. */
  const taken = new WeakMap<object, Own<L>[]>();

  async function lockBefore(request: Request<Event, L>) {
    const bare: LambdaContext = readContext(request.context);
    const entry = await enter(request.event, bare);
    if ("response" in entry) {
      // middy ends the request here, and tells none of the middlewares before.
      await endEarly(request);
      // Of undefined it would make that the handler is to run.
      return entry.response ?? null;
    }
    const locked = lockedContext(bare, entry.lock);
    const locks = locksOf.get(request) ?? watched(request);
    const finish: Finish = async (success) => {
      // middy may have given up on a handler that is still at work.
      if (gaveUp(request.error, bare)) return own.pace();
      locks.delete(own);
      // What comes after this is under the lock of a middleware registered before, if there is one.
      if (request.context === locked) request.context = bare as typeof locked;
      return entry.finish(success);
    };
    const own: Own<L> = { ...entry, finish };
    taken.set(request, [...(taken.get(request) ?? []), own]);
    locksOf.set(request, locks.add(own));
    request.context = locked;
  }

  async function lockAfter(request: Request<Event, L>) {
    const own = taken.get(request)?.findLast((each) => !("response" in each) && isOpen(request, each));
    if (!own) return;
    own.response = undefined;
    own.response = await settle(own, request.response, { succeeded, hold: heldToEnd, discard });
    request.response = own.response;
  }

  async function lockOnError(request: Request<Event, L>) {
    for (const own of taken.get(request)?.reverse() ?? []) {
      if (isOpen(request, own)) await own.finish(false);
      // middy has dropped the response: nobody is going to read its stream.
      discard(own.response);
    }
  }

  return { before: lockBefore, after: lockAfter, onError: lockOnError };
}

/** A lock of a middleware, and what was made of the response under it. */
interface Own<L> extends Taken<L> {
  response?: unknown;
}

/** Whether a lock of a request is not ended. */
function isOpen(request: object, own: Pick<Taken, "finish" | "pace">): boolean {
  return locksOf.get(request)?.has(own) ?? false;
}

/** Ends the locks of a request whose handler is not going to run, or failed. */
async function endEarly(request: object): Promise<void> {
  for (const { finish } of [...(locksOf.get(request) ?? [])].reverse()) await finish(false);
}

/**
 * The locks of a request from now on. Each phase of a request ends by setting its response, and an early response is
 * all that middy does of one: a middleware that is passed over hears nothing of it. So from there on locks are renewed
 * no more, and if it is known that the handler did not run, or failed, they are ended. middy 6 and 7 tell by
 * `earlyResponse`.
 */
function watched(request: MiddyRequest<unknown, unknown>): Set<Pick<Taken, "finish" | "pace">> {
  const locks = new Set<Pick<Taken, "finish" | "pace">>();
  let { response } = request;
  let answered = false;
  Object.defineProperty(request, "response", {
    configurable: true,
    enumerable: true,
    get: () => response,
    set(value) {
      response = value;
      if ((!answered || request.error) && "earlyResponse" in request) endEarly(request).catch(() => {});
      if (!answered) for (const { pace } of locks) pace();
      answered = true;
    },
  });
  return locks;
}
