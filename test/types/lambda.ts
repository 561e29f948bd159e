// Type tests: this file is only compiled. A line under @ts-expect-error must be an error.
import type { Writable } from "node:stream";
import type {
  APIGatewayProxyEvent,
  APIGatewayProxyEventV2,
  APIGatewayProxyHandlerV2,
  APIGatewayProxyResult,
  APIGatewayProxyStructuredResultV2,
  Context,
  DynamoDBBatchResponse,
  DynamoDBRecord,
  DynamoDBStreamEvent,
  DynamoDBStreamHandler,
  EventBridgeEvent,
  Handler,
  KinesisStreamBatchResponse,
  KinesisStreamEvent,
  KinesisStreamHandler,
  KinesisStreamRecord,
  S3EventRecord,
  ScheduledEvent,
  ScheduledHandler,
  SQSBatchResponse,
  SQSEvent,
  SQSHandler,
  SQSRecord,
} from "aws-lambda";
import type { Lock } from "serverless-lock";
import { lockHandler, lockRecords } from "serverless-lock/lambda";
import { oncePerTick } from "serverless-lock/schedule";

/** Holds only if the two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <_ extends true>() => {};

// The event is told by the key function, by the handler, or by both.
const byKey = lockHandler(
  { key: (event: APIGatewayProxyEventV2) => `order:${event.pathParameters?.id}` },
  async (event, context): Promise<APIGatewayProxyStructuredResultV2> => {
    const lock: Lock = context.lock;
    // @ts-expect-error: a lock has no such thing
    lock.unlock();
    // @ts-expect-error: of the other version of the event
    event.httpMethod;
    return { statusCode: 200, body: `${event.rawPath} ${lock.key} ${context.awsRequestId}` };
  },
);
same<Same<Parameters<typeof byKey>[0], APIGatewayProxyEventV2>>();
same<Same<Awaited<ReturnType<typeof byKey>>, APIGatewayProxyStructuredResultV2>>();
const asHandlerV2: APIGatewayProxyHandlerV2 = byKey;

const byHandler = lockHandler(
  { key: "report", ttl: "1m" },
  async (event: APIGatewayProxyEvent, context: Context & { lock: Lock }): Promise<APIGatewayProxyResult> => {
    // Its own kind of context survives.
    const identity = context.identity?.cognitoIdentityId;
    return { statusCode: 200, body: `${event.httpMethod} ${identity} ${context.lock.remaining}` };
  },
);
same<Same<Parameters<typeof byHandler>, [event: APIGatewayProxyEvent, context: Context]>>();
same<Same<Awaited<ReturnType<typeof byHandler>>, APIGatewayProxyResult>>();

const byBoth = lockHandler(
  { key: (event: EventBridgeEvent<"Order Paid", { order: string }>) => event.detail.order },
  async (event: EventBridgeEvent<"Order Paid", { order: string }>) => event.detail.order.length,
);
same<Same<Awaited<ReturnType<typeof byBoth>>, number>>();

// A handler need not be async.
const direct = lockHandler({ key: ({ id }: { id: string }) => id }, ({ id }) => id);
same<Same<ReturnType<typeof direct>, Promise<string>>>();

// Only "skip" adds null to what the handler returns.
const skipping = lockHandler({ key: "k", ifBusy: "skip" }, async () => 5);
same<Same<Awaited<ReturnType<typeof skipping>>, number | null>>();
const throwing = lockHandler({ key: "k", ifBusy: "throw" }, async () => 5);
same<Same<Awaited<ReturnType<typeof throwing>>, number>>();
const answering = lockHandler(
  { key: "k", ifBusy: (error, event: { id: string }) => ({ statusCode: error.statusCode, body: event.id }) },
  async (event: { id: string }) => ({ statusCode: 200, body: event.id }),
);
same<Same<Awaited<ReturnType<typeof answering>>, { statusCode: number; body: string }>>();
// @ts-expect-error: the answer while it is busy is no result of the handler
lockHandler({ key: "k", ifBusy: () => "busy" }, async (): Promise<number> => 5);
const scheduled: ScheduledHandler = lockHandler({ key: "k" }, async (event) => void event.time);

// The type of the whole handler tells its parts.
const told: APIGatewayProxyHandlerV2<{ order: string }> = lockHandler(
  { key: (event) => `order:${event.pathParameters?.id}` },
  async (event, context) => ({
    order: `${event.rawPath} ${context.lock.key} ${context.identity?.cognitoIdentityId}`,
  }),
);
const toldToSkip: Handler<{ id: string }, { id: string } | null> = lockHandler(
  { key: (event) => event.id, ifBusy: "skip" },
  async (event) => ({ id: event.id }),
);
// @ts-expect-error: skipped, it is null
const neverNull: Handler<{ id: string }, { id: string }> = lockHandler(
  { key: "k", ifBusy: "skip" },
  async (event: { id: string }) => ({ id: event.id }),
);

// Streamed: the second argument is the stream. Which of the two kinds of handler it is, its own types tell.
const streaming = lockHandler(
  {
    key: (event: APIGatewayProxyEventV2, stream, context) =>
      `${event.rawPath} ${stream.writable} ${context.identity}`,
  },
  async (event: APIGatewayProxyEventV2, stream: Writable, context: Context & { lock: Lock }) => {
    stream.end(event.rawPath + context.lock.key);
  },
);
same<
  Same<Parameters<typeof streaming>, [event: APIGatewayProxyEventV2, stream: Writable, context: Context]>
>();
same<Same<ReturnType<typeof streaming>, Promise<void>>>();
lockHandler(
  { key: "k", ifBusy: (error, _event, stream) => void stream.end(error.message) },
  async (_event: object, stream: Writable, _context: Context) => void stream.end("done"),
);
// @ts-expect-error: no stream
lockHandler({ key: "k" }, async (_event: object, _stream: { write: number }, _context: Context) => {});

// @ts-expect-error: no key
lockHandler({ ttl: "10s" }, async () => 5);

// A handler that is there already, of AWS' own types.
const existing = {} as APIGatewayProxyHandlerV2;
const wrapped: APIGatewayProxyHandlerV2 = lockHandler({ key: "k" }, existing);
const byEvent: APIGatewayProxyHandlerV2 = lockHandler({ key: (event) => event.rawPath }, existing);
const result: Promise<number> = lockHandler({ key: "k" }, {} as Handler<object, number>)({}, {} as Context);
const wrappedSqs: SQSHandler = lockHandler(
  { key: (event) => event.Records[0]?.messageId ?? "" },
  {} as SQSHandler,
);
// Skipped, a handler without a result has none either.
const ticking: ScheduledHandler = lockHandler({ ...oncePerTick("report") }, async (event: ScheduledEvent) => {
  console.log(event.time);
});
const tickingOnce: ScheduledHandler = lockHandler({ ...oncePerTick("report") }, {} as ScheduledHandler);
// @ts-expect-error: no handler
lockHandler({ key: "k" });
// @ts-expect-error: no duration
lockHandler({ key: "k", ttl: "10 parsecs" }, async () => 5);
// @ts-expect-error: no such answer to busy
lockHandler({ key: "k", ifBusy: "wait" }, async () => 5);
// @ts-expect-error: a key is a text
lockHandler({ key: (event: { id: number }) => event.id }, async () => 5);
// @ts-expect-error: misspelt
lockHandler({ key: "k", tll: "10s" }, async () => 5);

const records = lockRecords(
  { key: (record: SQSRecord) => record.body, concurrency: 5 },
  async (record, context) => {
    const lock: Lock = record.lock;
    return `${record.attributes.MessageGroupId} ${lock.key} ${context.getRemainingTimeInMillis()}`;
  },
);
const asSqsHandler: SQSHandler = records;
const response: Promise<SQSBatchResponse> = records({} as SQSEvent, {} as Context);

// Records of streams.
const ofKinesis = lockRecords(
  { key: (record: KinesisStreamRecord) => `order:${record.kinesis.partitionKey}` },
  (record) => `${record.kinesis.data} ${record.lock.key}`,
);
const asKinesisHandler: KinesisStreamHandler = ofKinesis;
const kinesisResponse: Promise<KinesisStreamBatchResponse> = ofKinesis(
  {} as KinesisStreamEvent,
  {} as Context,
);
const ofDynamoDb = lockRecords(
  { key: async (record: DynamoDBRecord) => `order:${record.dynamodb?.Keys?.id?.S}` },
  (record) => `${record.eventName} ${record.lock.key}`,
);
const asDynamoDbHandler: DynamoDBStreamHandler = ofDynamoDb;
const dynamoDbResponse: Promise<DynamoDBBatchResponse> = ofDynamoDb({} as DynamoDBStreamEvent, {} as Context);
// @ts-expect-error: S3 sends no batches
lockRecords({ key: (record: S3EventRecord) => record.s3.object.key }, () => {});

// A record of the queue's own, of which SQS is but one.
const own = lockRecords(
  { key: (record: SQSRecord & { order: string }) => record.order, onError: (_error, record) => record.order },
  (record) => record.order,
);
same<Same<Parameters<typeof own>[0], { Records: (SQSRecord & { order: string })[] }>>();
lockRecords({ key: "k" }, (record: SQSRecord & { lock: Lock }) => record.lock.signal);
// @ts-expect-error: a busy record goes back to the queue
lockRecords({ key: "k", ifBusy: "skip" }, () => {});
// @ts-expect-error: a number
lockRecords({ key: "k", concurrency: "5" }, () => {});
// @ts-expect-error: records of SQS have an id
lockRecords({ key: (record: { body: string }) => record.body }, () => {});

// A key may be a promise's.
lockHandler({ key: async (event: { id: string }) => event.id }, async (event) => event.id);
// @ts-expect-error: a key is a text, also in a promise
lockHandler({ key: async (event: { id: number }) => event.id }, async (event) => event.id);

export {
  asDynamoDbHandler,
  asHandlerV2,
  asKinesisHandler,
  asSqsHandler,
  byEvent,
  dynamoDbResponse,
  kinesisResponse,
  neverNull,
  response,
  result,
  scheduled,
  ticking,
  tickingOnce,
  told,
  toldToSkip,
  wrapped,
  wrappedSqs,
};
