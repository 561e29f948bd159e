// A process with some callers of one key. Its parent says what they ask for, and reads what they were told.
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { createLocker } from "serverless-lock";
import { singleFlight } from "serverless-lock/single-flight";

export interface Place {
  contender: string;
  url: string;
  token: string;
  /** What contenders reach by TCP. */
  redis: string;
  /** Where work counts how often it ran, past all faults. */
  counter: string;
}

export interface Order {
  key: string;
  callers: number;
  /** ms that the work takes. */
  work: number;
  /** ms of a lease, or until work counts as dead. */
  lease: number;
  renew: boolean;
}

/** What a caller was told. */
export interface Answer {
  /** The number of the run whose result it got. */
  run?: number;
  error?: string;
  ms: number;
}

type Ask = (order: Order, work: () => Promise<number>) => Promise<number>;

const place = JSON.parse(process.argv[2] as string) as Place;
const counter = new Redis(place.counter);

function ours(): Ask {
  const locker = createLocker({ url: place.url, token: place.token, requestTimeout: "2s" });
  return ({ key, lease, renew }, work) =>
    singleFlight(locker, key, { keepFor: "1m", wait: "20s", ttl: lease, renew }, work);
}

/** The two packages stand apart: see test/storm/package.json. */
async function powertools(): Promise<Ask> {
  const peers = createRequire(new URL("../../test/storm/package.json", import.meta.url));
  const { IdempotencyConfig, makeIdempotent } = peers("@aws-lambda-powertools/idempotency");
  const { CachePersistenceLayer } = peers("@aws-lambda-powertools/idempotency/cache");
  const client = peers("@redis/client").createClient({ url: place.redis });
  client.on("error", () => {});
  await client.connect();
  process.env.AWS_LAMBDA_FUNCTION_NAME = "bench";
  return ({ key, lease }, work) => {
    const config = new IdempotencyConfig({ expiresAfterSeconds: 60 });
    config.registerLambdaContext({ getRemainingTimeInMillis: () => lease });
    const persistenceStore = new CachePersistenceLayer({ client });
    return makeIdempotent(async (_: { key: string }) => work(), { persistenceStore, config })({ key });
  };
}

function cache(): Ask {
  const redis = new Redis(place.redis);
  redis.on("error", () => {});
  return async ({ key }, work) => {
    const kept = await redis.get(`cache:${key}`);
    if (kept !== null) return Number(kept);
    const result = await work();
    await redis.set(`cache:${key}`, result, "EX", 60);
    return result;
  };
}

const contenders: Record<string, () => Ask | Promise<Ask>> = { ours, powertools, cache };
const ask = await (contenders[place.contender] as () => Ask | Promise<Ask>)();

process.on("message", async (order: Order) => {
  const callers = Array.from({ length: order.callers }, async (): Promise<Answer> => {
    const asked = performance.now();
    const ms = () => Math.round(performance.now() - asked);
    try {
      const run = await ask(order, async () => {
        const run = await counter.incr(`runs:${order.key}`);
        process.send?.("works");
        await sleep(order.work);
        return run;
      });
      return { run, ms: ms() };
    } catch (error) {
      return { error: (error as Error).name, ms: ms() };
    }
  });
  process.send?.(await Promise.all(callers));
});
process.send?.("ready");
