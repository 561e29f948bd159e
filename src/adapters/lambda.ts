import { LockOptionError, show } from "../errors.ts";
import type { HeldLock, Lock } from "../lock.ts";
import { type BatchOptions, batchOptions, batchProcessor } from "./batch.ts";
import {
  gaveUp,
  invocation,
  type LambdaContext,
  lockedContext,
  readContext,
  succeeded,
} from "./lambda-context.ts";
import { type AdapterOptions, type End, Guard, type IfBusy, readHandler, run } from "./run.ts";
import { discard, heldToEnd } from "./stream.ts";
import { tie } from "./web-stream.ts";

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
  destroy?(error?: Error): unknown;
  readonly writableFinished: boolean;
  readonly destroyed?: boolean;
}

/**
 * Wraps any Lambda handler: the lock, at `context.lock`, is taken before it and released once it has settled
 * and what it streams has ended. Goes inside `awslambda.streamifyResponse`, where that is used. A result with a
 * `statusCode` of 5xx, or with `batchItemFailures`, is no success: nothing is kept for `holdFor`.
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
    const context: Partial<LambdaContext> = readContext(stream ? third : second);
    const work = (lock: Lock) => {
      const own = lockedContext(context, lock);
      return handler(...((stream ? [event, stream, own] : [event, own]) as never[]));
    };
    const input = stream ? [event, stream, context] : [event, context];
    const answer = await run(guard, input, invocation(context), work, {
      succeeded,
      gaveUp: (error) => gaveUp(error, context),
      hold: (result, end, lock) => (stream ? untilFinished(stream, end, lock) : heldToEnd(result, end, lock)),
      discard,
    });
    if (!stream || answer !== null) return answer;
    // Skipped: Lambda would wait for the stream's end.
    stream.end();
  };
}

function isStream(value: unknown): value is ResponseStream {
  return typeof (value as Partial<ResponseStream> | undefined)?.write === "function";
}

/**
 * A handler may return while something is still piped into its stream. From then on the lock is renewed only while
 * something is written.
 */
async function untilFinished(stream: ResponseStream, end: End, lock: HeldLock): Promise<void> {
  const { finish, progress } = tie(end, lock, (error) => stream.destroy?.(error));
  // One that was destroyed before has no event left to wait for.
  if (!stream.writableFinished && !stream.destroyed) {
    const { write } = stream;
    stream.write = (...chunk) => {
      progress();
      return write.apply(stream, chunk);
    };
    await new Promise<void>((resolve) => {
      for (const event of ["finish", "close", "error"] as const) stream.once(event, resolve);
    });
  }
  await finish(stream.writableFinished);
}

/** What is used of a record of an SQS event. */
export interface SqsRecord {
  messageId: string;
  eventSourceARN?: string | undefined;
  attributes?: { MessageGroupId?: string | undefined } | undefined;
}

/** What is used of a record of a Kinesis stream. */
export interface KinesisRecord {
  kinesis: { sequenceNumber: string };
}

/** What is used of a record of a DynamoDB stream. */
export interface DynamoDbRecord {
  dynamodb?: { SequenceNumber?: string | undefined } | undefined;
}

export type LambdaRecord = SqsRecord | KinesisRecord | DynamoDbRecord;

export type LockRecordsOptions<
  Record extends LambdaRecord,
  Context extends object = LambdaContext,
> = BatchOptions<Record, [context: Context]>;

/** With `functionResponseType: ReportBatchItemFailures`, exactly these come again. */
export interface BatchResponse {
  batchItemFailures: { itemIdentifier: string }[];
}

/**
 * Processes a batch of SQS, Kinesis or a DynamoDB stream with a lock, at `record.lock`, for each record. Never rejects
 * for a record's sake, and answers before the function's time is over: what is not begun by then, or still at work,
 * comes again.
 *
 * Of SQS, those of one key are processed in their order, different keys side by side. A record that is busy, failed, or
 * whose lock was lost goes back to the queue alone; of a FIFO queue also what comes after it in its group.
 *
 * Of a stream, records are processed one after another, up to the first that fails: it comes again, with all after it.
 *
 * @example
 * export const handler = lockRecords({ key: (record: SQSRecord) => `order:${record.body}` }, (record) =>
 *   ship(record.body, record.lock.signal),
 * );
 *
 * @throws LockOptionError here, when an option is wrong; and the handler, before any work, for records of another kind
 */
export function lockRecords<Record extends LambdaRecord, Context extends object = LambdaContext>(
  options: LockRecordsOptions<Record, Context>,
  processRecord: (record: Record & { lock: Lock }, context: Context) => unknown,
): (event: { Records: Record[] }, context: Context) => Promise<BatchResponse> {
  const guard = new Guard<[Record, Context], unknown>(options, batchOptions);
  readHandler(processRecord);
  const process = batchProcessor<Record, [Context]>(guard, options, processRecord);
  return async function lockedRecords(event, given) {
    const context = readContext(given);
    const about = invocation(context);
    const items = event?.Records;
    const { idOf, groupOf } = sourceOf(event, items);
    const failed = new Set<Record>();
    await process({
      items,
      rest: [context],
      about,
      groupOf,
      settled: (record, failure) => failure && failed.add(record),
    });
    const failures = items.filter((record) => failed.has(record));
    // Of a stream, whatever comes after the first one comes again with it.
    if (groupOf === shard) failures.splice(1);
    return { batchItemFailures: failures.map((record) => ({ itemIdentifier: idOf(record) as string })) };
  };
}

/** Anything that may be in a batch. */
type AnyRecord = Partial<SqsRecord> & Partial<KinesisRecord> & DynamoDbRecord;

interface BatchSource {
  /** By what a record that failed is named. */
  idOf(record: AnyRecord): string | undefined;
  /** What is kept in order: none of it is processed after one that failed. */
  groupOf(record: AnyRecord): string | undefined;
}

/** A batch of a stream is a piece of one shard. */
const shard = () => "shard";

const sources: { [eventSource: string]: BatchSource } = {
  "aws:sqs": {
    idOf: ({ messageId }) => messageId,
    // Only a FIFO queue keeps its groups in order.
    groupOf: ({ eventSourceARN, attributes }) =>
      eventSourceARN?.endsWith(".fifo") ? attributes?.MessageGroupId : undefined,
  },
  "aws:kinesis": { idOf: ({ kinesis }) => kinesis?.sequenceNumber, groupOf: shard },
  "aws:dynamodb": { idOf: ({ dynamodb }) => dynamodb?.SequenceNumber, groupOf: shard },
};

/** Tells where a batch comes from, by its records' `eventSource`, or by what they are made of. @throws LockOptionError */
function sourceOf(event: unknown, records: unknown): BatchSource {
  const isList = Array.isArray(records);
  const { eventSource, EventSource } = Object(isList ? records[0] : event);
  const named = eventSource ?? EventSource;
  const found = Object.entries(sources).find(
    ([name, { idOf }]) =>
      isList &&
      (named ?? name) === name &&
      records.every((record) => typeof idOf(Object(record)) === "string"),
  );
  if (found) return found[1];
  const given = named === undefined ? `no Records with an id` : `one of ${show(named)}`;
  throw new LockOptionError("event", given, "Records of SQS, of Kinesis or of a DynamoDB stream");
}
