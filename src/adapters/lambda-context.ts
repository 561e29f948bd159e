import { LockOptionError } from "../errors.ts";
import type { Invocation } from "./run.ts";

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

/**
 * What Lambda knows of an invocation.
 * @throws LockOptionError in a durable function: that runs its handler again at every replay, and between
 * two of them it does not run at all
 */
export function invocation(context: Partial<LambdaContext> = {}): Invocation {
  if (Symbol.for("@aws/durable-execution-sdk-js/durable-context") in context || "lambdaContext" in context) {
    throw new LockOptionError("context", "that of a durable function", "a plain one: lock inside a step");
  }
  const { functionName, awsRequestId = "" } = context;
  return {
    lifetime: remainingTime(context),
    owner: functionName && `${functionName} ${awsRequestId}`.trim(),
  };
}

export function remainingTime(context: Partial<LambdaContext>): (() => number) | undefined {
  return context.getRemainingTimeInMillis && (() => context.getRemainingTimeInMillis?.() ?? 0);
}
