import { LockOptionError, show } from "../errors.ts";
import { timeLeft } from "../invocation.ts";
import { forever } from "../runtime.ts";
import { asOwner, attach, type Invocation, isFailure, type Taken, viewOf } from "./run.ts";
import { isResponse } from "./values.ts";

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

/** The context of an invocation; an empty one if it came without, as in a unit test. @throws LockOptionError */
export function readContext<Context>(context: Context): Context & object {
  const given: unknown = context ?? {};
  if (typeof given === "object") return given as Context & object;
  throw new LockOptionError("context", show(given), "Lambda's context, or none");
}

/** The context with the lock at `lock`. If it has one of ours, as in a nesting, that stays with whoever has it. */
export function lockedContext<Context extends object, L>(context: Context, lock: L): Context & { lock: L } {
  const { enumerable } = Object.getOwnPropertyDescriptor(context, "lock") ?? {};
  return enumerable === false ? viewOf(context, { lock }) : attach(context, lock);
}

/**
 * What Lambda knows of an invocation.
 * @throws LockOptionError in a durable function: that runs its handler again at every replay, and between
 * two of them it does not run at all
 */
export function invocation(context: Partial<LambdaContext>): Invocation & { lifetime: () => number } {
  if (Symbol.for("@aws/durable-execution-sdk-js/durable-context") in context || "lambdaContext" in context) {
    throw new LockOptionError("context", "a durable function's", "a plain one: lock inside a step");
  }
  const { functionName, awsRequestId } = context;
  const names = [functionName, awsRequestId].filter((name) => typeof name === "string");
  return {
    lifetime: () => remainingTime(context),
    owner: typeof functionName === "string" ? asOwner(names.join(" ").trim()) : undefined,
  };
}

/** Milliseconds the function may still run: no limit if the context does not know, or throws, as in a unit test. */
function remainingTime(context: Partial<LambdaContext>): number {
  return timeLeft(
    () => context.getRemainingTimeInMillis?.() ?? forever,
    () => 0,
  );
}

/**
 * Whether a failure may be that of a timeout, whose handler is still at work: its lock is not released then. middy's
 * early timeout throws a TimeoutError, or what a `timeoutEarlyResponse` of one's own throws or returns; that comes
 * within moments of the function's end, and there a lease ends by itself.
 */
export function gaveUp(error: unknown, context: Partial<LambdaContext>): boolean {
  const { name, message } = Object(error) as Partial<Error>;
  const timedOut = name === "TimeoutError" && `${message}`.startsWith("[AbortError]");
  return timedOut || remainingTime(context) < 20;
}

/** A lock that is not released after such a failure: its lease runs out while the handler may go on. */
export function outlived<L>(taken: Taken<L>, context: Partial<LambdaContext>): Taken<L> {
  return {
    ...taken,
    async finish(success, error) {
      if (!success && gaveUp(error, context)) taken.pace();
      else await taken.finish(success);
    },
  };
}

/** Whether a result says that the work was done: not an answer of 5xx or 423, nor records that are to come again. */
export function succeeded(result: unknown): boolean {
  const { statusCode, batchItemFailures } = Object(result) as {
    statusCode?: unknown;
    batchItemFailures?: { length?: number } | null;
  };
  const status = isResponse(result) ? result.status : statusCode;
  return !isFailure(status) && !batchItemFailures?.length;
}
