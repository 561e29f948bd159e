import { LockOptionError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import { type BatchOptions, batchOptions, batchProcessor } from "./batch.ts";
import { invocation, type LambdaContext } from "./lambda-context.ts";
import { type AdapterOptions, attach, type End, Guard, type IfBusy, readHandler, run } from "./run.ts";
import { heldToEnd } from "./stream.ts";

export type { LambdaContext } from "./lambda-context.ts";

export type LockHandlerOptions<Input extends unknown[], Result> = AdapterOptions<Input, Result>;

/** Those with which a handler is never skipped. */
type Unskipped<Input extends unknown[], Result> = LockHandlerOptions<Input, Result> & {
  ifBusy?: Exclude<IfBusy<Input, Result>, "skip"> | undefined;
};

/** What is used of the stream that `awslambda.streamifyResponse` hands to a handler. */
export interface ResponseStream {
  write(chunk: never): boolean;
  once(event: "finish" | "close" | "error", listener: () => void): unknown;
  end(): unknown;
  readonly writableFinished: boolean;
  readonly destroyed?: boolean;
}

/**
 * Wraps any Lambda handler: the lock, at `context.lock`, is taken before it and released once it has settled
 * and what it streams has ended. Goes inside `awslambda.streamifyResponse`, where that is used.
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
export function lockHandler<Event, Result, Context extends object = LambdaContext>(
  options: LockHandlerOptions<[event: Event, context: Context], Result>,
  handler: (event: Event, context: Context & { lock: Lock }) => Result | Promise<Result>,
): (event: Event, context: Context) => Promise<Result | null>;
export function lockHandler<Event, Stream extends ResponseStream, Context extends object = LambdaContext>(
  options: LockHandlerOptions<[event: Event, stream: Stream, context: Context], void>,
  handler: (event: Event, stream: Stream, context: Context & { lock: Lock }) => void | Promise<void>,
): (event: Event, stream: Stream, context: Context) => Promise<void>;
export function lockHandler(
  options: AdapterOptions<unknown[], unknown>,
  handler: (...input: never[]) => unknown,
): (...input: unknown[]) => Promise<unknown> {
  const guard = new Guard(options);
  readHandler(handler);
  return async function lockedHandler(event, second, third) {
    // Lambda's own third argument, up to Node 22, is a callback.
    const stream = isStream(second) ? second : undefined;
    const context = (stream ? third : second) as object;
    const input = stream ? [event, stream, context] : [event, context];
    const answer = await run(
      guard,
      input,
      invocation(context),
      (lock) => {
        attach(context, lock);
        return handler(...(input as never[]));
      },
      { hold: (result, end) => (stream ? untilFinished(stream, end) : heldToEnd(result, end)) },
    );
    if (!stream || answer !== null) return answer;
    // Skipped: Lambda would wait for the stream's end.
    stream.end();
  };
}

function isStream(value: unknown): value is ResponseStream {
  return typeof (value as Partial<ResponseStream> | undefined)?.write === "function";
}

/** A handler may return while something is still piped into its stream. */
async function untilFinished(stream: ResponseStream, end: End): Promise<void> {
  // One that was destroyed before has no event left to wait for.
  if (!stream.writableFinished && !stream.destroyed) {
    await new Promise<void>((resolve) => {
      for (const event of ["finish", "close", "error"] as const) stream.once(event, resolve);
    });
  }
  await end(stream.writableFinished);
}

/** What is used of a record of an SQS event. */
export interface SqsRecord {
  messageId: string;
  eventSourceARN?: string;
  attributes?: { MessageGroupId?: string | undefined };
}

export type LockRecordsOptions<
  Record extends SqsRecord,
  Context extends object = LambdaContext,
> = BatchOptions<Record, [context: Context]>;

/** With `functionResponseType: ReportBatchItemFailures`, exactly these come again. */
export interface BatchResponse {
  batchItemFailures: { itemIdentifier: string }[];
}

/**
 * Processes an SQS batch with a lock, at `record.lock`, for each record: those of one key in their order, different
 * keys side by side. A record that is busy, failed, or whose lock was lost goes back to the queue alone; of a FIFO
 * queue also what comes after it in its group. Never rejects for a record's sake.
 *
 * @example
 * export const handler = lockRecords({ key: (record: SQSRecord) => `order:${record.body}` }, (record) =>
 *   ship(record.body, record.lock.signal),
 * );
 *
 * @throws LockOptionError here, when an option is wrong
 */
export function lockRecords<Record extends SqsRecord, Context extends object = LambdaContext>(
  options: LockRecordsOptions<Record, Context>,
  processRecord: (record: Record & { lock: Lock }, context: Context) => unknown,
): (event: { Records: Record[] }, context: Context) => Promise<BatchResponse> {
  const guard = new Guard<[Record, Context], unknown>(options, batchOptions);
  readHandler(processRecord);
  const process = batchProcessor<Record, [Context]>(guard, options, processRecord);
  return async function lockedRecords(event, context) {
    const about = invocation(context);
    const items = event?.Records;
    if (!Array.isArray(items)) throw new LockOptionError("event", "no Records", "an SQS event");
    const failed = new Set<Record>();
    await process({
      items,
      rest: [context],
      about,
      groupOf,
      settled: (record, failure) => failure && failed.add(record),
    });
    const failures = items.filter((record) => failed.has(record));
    return { batchItemFailures: failures.map(({ messageId }) => ({ itemIdentifier: messageId })) };
  };
}

/** What a FIFO queue keeps in order. Only there does a record have a group that matters. */
function groupOf({ eventSourceARN, attributes }: SqsRecord): string | undefined {
  return eventSourceARN?.endsWith(".fifo") ? attributes?.MessageGroupId : undefined;
}
