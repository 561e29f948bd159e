// Type tests: this file is only compiled. A line under @ts-expect-error must be an error.
import middy from "@middy/core";
import type {
  APIGatewayProxyEventV2,
  APIGatewayProxyHandlerV2,
  DynamoDBRecord,
  SQSHandler,
  SQSRecord,
} from "aws-lambda";
import { Hono } from "hono";
import type { Lock } from "serverless-lock";
import { lockQueue } from "serverless-lock/cloudflare";
import { lockFetch } from "serverless-lock/fetch";
import { lock } from "serverless-lock/hono";
import { idempotent } from "serverless-lock/idempotency";
import { lockHandler, lockRecords } from "serverless-lock/lambda";
import lockMiddleware from "serverless-lock/middy";

lockFetch({ ...idempotent({ required: true }) }, async (request) => Response.json(request.lock.held));
// @ts-expect-error: a request has no such thing
lockFetch(idempotent(), async (request) => new Response(request.nope));
// @ts-expect-error: a key of another handler's input
lockFetch(idempotent({ key: (event: APIGatewayProxyEventV2) => event.rawPath }), async () => new Response());

interface Message {
  id: string;
  body: string;
  ack(): void;
  retry(): void;
}
lockQueue(idempotent(), async (message: Message) => message.body);
lockQueue(idempotent(), async (message: Message & { lock: Lock }) => message.lock.held);

const sqs: SQSHandler = lockRecords(idempotent(), (record: SQSRecord) => record.body);
lockRecords(idempotent({ key: (record: SQSRecord) => record.body }), (record) => record.lock.held);
lockRecords(idempotent(), (record: DynamoDBRecord) => record.eventID);

const v2: APIGatewayProxyHandlerV2 = lockHandler(idempotent(), async (event) => ({ body: event.body ?? "" }));
lockHandler(idempotent({ key: (event: { id: string }) => event.id }), async ({ id }) => id);
// @ts-expect-error: a context has no such thing
lockHandler(idempotent(), async (_event, context) => context.nope);

middy()
  .use(lockMiddleware(idempotent()))
  .handler(async (event: APIGatewayProxyEventV2, context) => `${event.rawPath} ${context.lock.key}`);
new Hono().post("/pay", lock(idempotent()), (c) => c.text(c.var.lock.key));

export { sqs, v2 };
