import { setTimeout } from "node:timers/promises";
import middy from "@middy/core";
import httpErrorHandler from "@middy/http-error-handler";
import type { APIGatewayProxyEventV2 } from "aws-lambda";
import lockMiddleware from "serverless-lock/middy";

/** `POST /orders/{id}/charge`: an order is charged by one invocation at a time; its twins get a 423. */
export const handler = middy()
  .use(httpErrorHandler())
  // Last, so that no other middleware can end the request while the lock is held.
  .use(
    lockMiddleware({
      key: (event: APIGatewayProxyEventV2) => `order:${event.pathParameters?.id}`,
    }),
  )
  .handler(async (event, context) => {
    const order = event.pathParameters?.id;
    await charge(order, context.lock.signal);
    return { statusCode: 200, body: JSON.stringify({ order, charged: true }) };
  });

/** Stands for the call to a payment provider. The signal stops it should the lock be lost. */
async function charge(order: string | undefined, signal: AbortSignal) {
  await setTimeout(800, undefined, { signal });
  console.log(`charged order ${order}`);
}
