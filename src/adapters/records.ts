import type { Lock } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { forever, realRuntime } from "../runtime.ts";
import { type BatchOptions, batchProcessor } from "./batch.ts";
import { invocation, type LambdaContext, readContext } from "./lambda-context.ts";
import type { Taken } from "./run.ts";

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
  const { process, tell } = batchProcessor<Record, [Context]>(options, processRecord);
  return async function lockedRecords(event, given) {
    const context = readContext(given);
    const about = invocation(context);
    const items = event?.Records;
    const { idOf, groupOf } = sourceOf(event, items);
    const time = closingTime(about.lifetime);
    const done = new Set<Record>();
    const failedGroups = new Set<string | undefined>();
    const working = new Map<Record, Taken>();
    let answered = false;
    const all = process({
      items,
      rest: [context],
      about,
      groupOf,
      isDue: (record) => !answered && !time.isShort() && !failedGroups.has(groupOf(record)),
      started(record, taken) {
        // It may have waited for its lock, and been handed back meanwhile.
        if (answered) throw lateError();
        working.set(record, taken);
      },
      succeeded(record) {
        working.delete(record);
        done.add(record);
      },
      async failed(record, error) {
        working.delete(record);
        const group = groupOf(record);
        if (group) failedGroups.add(group);
        if (!answered) await tell(error, record);
      },
    });
    await Promise.race([all, time.over]);
    answered = true;
    time.forget();
    // These may go on beside whoever gets them again: their leases are left to end by themselves.
    for (const [record, { pace }] of working) {
      pace();
      tell(lateError(), record);
    }
    const failures = items.filter((record) => !done.has(record));
    // Of a stream, whatever comes after the first one comes again with it.
    if (groupOf === shard) failures.splice(1);
    return { batchItemFailures: failures.map((record) => ({ itemIdentifier: idOf(record) as string })) };
  };
}

function lateError(): DOMException {
  return new DOMException("The function's time was nearly over", "TimeoutError");
}

interface ClosingTime {
  /** Whether too little time is left to begin anything more. */
  isShort(): boolean;
  /** Resolves when it is time to answer. */
  over: Promise<void>;
  /** Ends the timer. */
  forget(): void;
}

/** How often the function's clock is looked at: it may go on while a process stands still. */
const lookEvery = 500;

/** Watches the time a function has left. */
function closingTime(lifetime: () => number): ClosingTime {
  // Of it, what is kept for the release and the answer.
  const share = Math.min(1000, lifetime() / 10);
  let forget = () => {};
  const over = new Promise<void>((resolve) => {
    const look = () => {
      const left = lifetime() - share;
      if (left <= 0) resolve();
      else if (left < forever) forget = realRuntime.later(look, Math.min(left, lookEvery));
    };
    look();
  });
  return { isShort: () => lifetime() <= 2 * share, over, forget: () => forget() };
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
  const given = named === undefined ? "no Records with an id" : show(named);
  throw new LockOptionError("event", given, "Records of SQS, Kinesis or DynamoDB");
}
