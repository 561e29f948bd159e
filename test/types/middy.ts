// Type tests: this file is only compiled. A line under @ts-expect-error must be an error.
import middy7 from "@middy/core";
import { Lock as UpstashLock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import type { APIGatewayProxyEventV2, APIGatewayProxyResultV2 } from "aws-lambda";
import middy5 from "middy5";
import middy6 from "middy6";
import { createLocker, type Lock, type LockOptions } from "serverless-lock";
import lockMiddleware from "serverless-lock/middy";

const options = { key: (event: APIGatewayProxyEventV2) => `order:${event.pathParameters?.id}` };

middy5<APIGatewayProxyEventV2, APIGatewayProxyResultV2>()
  .use(lockMiddleware(options))
  .handler(async (event, context) => {
    const lock: Lock = context.lock;
    return { statusCode: 200, body: `${event.rawPath} ${lock.key} ${context.awsRequestId}` };
  });

middy6<APIGatewayProxyEventV2, APIGatewayProxyResultV2>()
  .use(lockMiddleware(options))
  .handler(async (event, context) => {
    const lock: Lock = context.lock;
    return { statusCode: 200, body: `${event.rawPath} ${lock.key} ${context.awsRequestId}` };
  });

middy7<APIGatewayProxyEventV2, APIGatewayProxyResultV2>()
  .use(lockMiddleware(options))
  .handler(async (event, context) => {
    const lock: Lock = context.lock;
    // @ts-expect-error: a lock has no such thing
    lock.unlock();
    return { statusCode: 200, body: `${event.rawPath} ${lock.key} ${context.awsRequestId}` };
  });

middy7<APIGatewayProxyEventV2>().handler(async (_event, context) => {
  // @ts-expect-error: without the middleware there is no lock
  context.lock;
});

const redis = Redis.fromEnv();
middy7<APIGatewayProxyEventV2>()
  .use(
    lockMiddleware({
      lock: (event: APIGatewayProxyEventV2) => new UpstashLock({ id: event.rawPath, redis: redis as never }),
    }),
  )
  .handler(async (_event, context) => {
    const lock: UpstashLock = context.lock;
    return lock.getStatus();
  });

middy7()
  .use(lockMiddleware({ key: (event: APIGatewayProxyEventV2) => ({ key: event.rawPath, mode: "shared" }) }))
  .handler(async (_event: APIGatewayProxyEventV2, context) => context.lock.keys);
lockMiddleware({ key: "k", redis, ttl: "10s", wait: 500, ifBusy: "skip" });
lockMiddleware({ key: "k", ifBusy: (error) => ({ statusCode: 202, body: error.owner }) });
// @ts-expect-error: no key
lockMiddleware({ ttl: "10s" });
// @ts-expect-error: no duration
lockMiddleware({ key: "k", ttl: "10 parsecs" });
// @ts-expect-error: no such answer to busy
lockMiddleware({ key: "k", ifBusy: "wait" });

const locker = createLocker({ redis });
const result: Promise<number> = locker.withLock("k", async (lock) => lock.remaining);
const maybe: Promise<Lock | null> = locker.tryAcquire("k", { wait: "1 s" });
const explicit: LockOptions = { ttl: undefined, wait: undefined, owner: undefined };
// @ts-expect-error: misspelt
locker.acquire("k", { tll: "10s" });
// @ts-expect-error: a wait is a duration
locker.acquire("k", { wait: true });

export { explicit, maybe, result };
