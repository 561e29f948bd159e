import type { Lock } from "../api.ts";
import { checkFunction } from "../options/rules.ts";
import {
  invocation,
  type LambdaContext,
  lockedContext,
  outlived,
  readContext,
  succeeded,
} from "./lambda-context.ts";
import { discard, heldToEnd } from "./node-stream.ts";
import { type AdapterOptions, type IfBusy, locking, runUnder, settle, type Taken } from "./run.ts";
import { tie } from "./stream.ts";
import { isStream } from "./values.ts";

export type { LambdaContext } from "./lambda-context.ts";
export {
  type BatchResponse,
  type DynamoDbRecord,
  type KinesisRecord,
  type LambdaRecord,
  type LockRecordsOptions,
  lockRecords,
  type SqsRecord,
} from "./records.ts";

export type LockHandlerOptions<Input extends unknown[], Result> = AdapterOptions<Input, Result>;

/** Those with which a handler is never skipped. */
type Unskipped<Input extends unknown[], Result> = LockHandlerOptions<Input, Result> & {
  ifBusy?: Exclude<IfBusy<Input, Result>, "skip"> | undefined;
};

/** A handler as `@types/aws-lambda` describes it: it returns a promise, or calls back. */
export type CallbackHandler<Event, Result, Context> = (
  event: Event,
  context: Context & { lock: Lock },
  callback: (error?: Error | string | null, result?: Result) => void,
  // biome-ignore lint/suspicious/noConfusingVoidType: as in `@types/aws-lambda`
) => void | Promise<Result>;

/** What is used of the stream that `awslambda.streamifyResponse` hands to a handler. */
export interface ResponseStream {
  write(chunk: never): boolean;
  once(event: "finish" | "close" | "error", listener: () => void): unknown;
  end(): unknown;
  destroy?(error?: Error): unknown;
  readonly writableFinished: boolean;
  readonly destroyed?: boolean;
}

/**
 * Wraps any Lambda handler: the lock, at `context.lock`, is taken before it and released once it has settled
 * and what it streams has ended. Goes inside `awslambda.streamifyResponse`, where that is used. A result with a
 * `statusCode` of 5xx or 423, or with `batchItemFailures`, is no success: nothing is kept for `holdFor`.
 *
 * @example
 * export const handler = lockHandler(
 *   { key: (event: APIGatewayProxyEventV2) => `order:${event.pathParameters?.id}` },
 *   async (event, context) => charge(event, context.lock.signal),
 * );
 *
 * @throws LockOptionError here, when an option is wrong
 */
export function lockHandler<Event, Result, Context extends object = LambdaContext>(
  options: Unskipped<[event: Event, context: Context], Result>,
  handler: (event: Event, context: Context & { lock: Lock }) => Result | Promise<Result>,
): (event: Event, context: Context) => Promise<Result>;
// biome-ignore lint/suspicious/noConfusingVoidType: skipped, a handler without a result has none either
export function lockHandler<Event, Result extends void, Context extends object = LambdaContext>(
  options: LockHandlerOptions<[event: Event, context: Context], Result>,
  handler: (event: Event, context: Context & { lock: Lock }) => Result | Promise<Result>,
): (event: Event, context: Context) => Promise<Result>;
export function lockHandler<Event, Stream extends ResponseStream, Context extends object = LambdaContext>(
  options: LockHandlerOptions<[event: Event, stream: Stream, context: Context], void>,
  handler: (event: Event, stream: Stream, context: Context & { lock: Lock }) => void | Promise<void>,
): (event: Event, stream: Stream, context: Context) => Promise<void>;
export function lockHandler<Event, Result, Context extends object = LambdaContext>(
  options: Unskipped<[event: Event, context: Context], Result>,
  handler: CallbackHandler<Event, Result, Context>,
): (event: Event, context: Context) => Promise<Result>;
export function lockHandler<Event, Result, Context extends object = LambdaContext>(
  options: LockHandlerOptions<[event: Event, context: Context], Result>,
  handler: CallbackHandler<Event, Result, Context>,
): (event: Event, context: Context) => Promise<Result extends void ? Result : Result | null>;
export function lockHandler<Event, Result, Context extends object = LambdaContext>(
  options: LockHandlerOptions<[event: Event, context: Context], Result>,
  handler: (event: Event, context: Context & { lock: Lock }) => Result | Promise<Result>,
): (event: Event, context: Context) => Promise<Result | null>;
export function lockHandler(
  options: AdapterOptions<unknown[], unknown>,
  handler: (...input: never[]) => unknown,
): (...input: unknown[]) => Promise<unknown> {
  const { enter } = locking(options);
  checkFunction("handler", handler);
  return async function lockedHandler(event, second, third) {
    // Lambda's own third argument, up to Node 22, is a callback. The lock has to hear of it, so it gets one of ours.
    const stream = isStream(second) ? second : undefined;
    const context: Partial<LambdaContext> = readContext(stream ? third : second);
    const inputWith = (own: object) => (stream ? [event, stream, own] : [event, own]);
    const entry = await enter(inputWith(context), invocation(context));
    if (entry.lock) {
      const taken = outlived(entry, context);
      const result = await runUnder(taken, (lock) => {
        const input = inputWith(lockedContext(context, lock)) as never[];
        return stream ? handler(...input) : resultOf(handler, input);
      });
      return settle(taken, result, {
        succeeded,
        hold: (result, taken) => (stream ? untilFinished(stream, taken) : heldToEnd(result, taken)),
        discard,
      });
    }
    // The handler did not run: Lambda would wait for the stream's end.
    stream?.end();
    return entry.response;
  };
}

/** What a handler returns; of one that takes a callback, and returns nothing, what it calls back with. */
function resultOf(handler: (...input: never[]) => unknown, input: never[]): unknown {
  if (handler.length < 3) return handler(...input);
  return new Promise((resolve, reject) => {
    const callback = (error?: unknown, result?: unknown) => (error ? reject(error) : resolve(result));
    const returned = handler(...input, callback as never);
    if (returned !== undefined) resolve(returned);
  });
}

/**
 * A handler may return while something is still piped into its stream. From then on the lock is renewed only while
 * something is written.
 */
async function untilFinished(stream: ResponseStream, taken: Taken): Promise<void> {
  const { end } = tie(taken, (error) => stream.destroy?.(error as Error));
  // One that was destroyed before has no event left to wait for.
  if (!stream.writableFinished && !stream.destroyed) {
    const { write } = stream;
    stream.write = (...chunk) => {
      taken.progress();
      return write.apply(stream, chunk);
    };
    await new Promise<void>((resolve) => {
      for (const event of ["finish", "close", "error"] as const) stream.once(event, resolve);
    });
  }
  await end(stream.writableFinished);
}
