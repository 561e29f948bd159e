import { metrics } from "@opentelemetry/api";
import { createLocker, LockOptionError } from "serverless-lock";
import { list, release } from "serverless-lock/admin";
import { lockQueue, lockScheduled, lockFetch as workerFetch } from "serverless-lock/cloudflare";
import { startDevServer } from "serverless-lock/dev";
import { emf } from "serverless-lock/emf";
import { dynamoFence, fencedSet, postgresFence, redisFence } from "serverless-lock/fence";
import { lockFetch } from "serverless-lock/fetch";
import { lock as honoLock } from "serverless-lock/hono";
import { idempotent } from "serverless-lock/idempotency";
import { lockHandler, lockRecords } from "serverless-lock/lambda";
import lockMiddleware from "serverless-lock/middy";
import { openTelemetry } from "serverless-lock/otel";
import { lockPage } from "serverless-lock/page";
import { oncePerTick } from "serverless-lock/schedule";
import { singleFlight } from "serverless-lock/single-flight";
import { memoryLocker } from "serverless-lock/testing";
import { describe, expect, test } from "vitest";

// What a user in JavaScript, or with a cast, may pass to each of what the entries give.
const locker = memoryLocker();
const work = async () => new Response();

const takers: Record<string, (options: never) => unknown> = {
  createLocker,
  memoryLocker,
  startDevServer,
  lockMiddleware,
  lockHandler: (options) => lockHandler(options, work as never),
  lockRecords: (options) => lockRecords(options, work as never),
  lockFetch: (options) => lockFetch(options, work),
  "lockFetch of a Worker": (options) => workerFetch(options, work),
  lockScheduled: (options) => lockScheduled(options, work as never),
  lockQueue: (options) => lockQueue(options, work as never),
  "lock of Hono": honoLock,
  oncePerTick: (options) => oncePerTick("report", options),
  singleFlight: (options) => singleFlight(locker, "a", options, work),
  idempotent,
  lockPage,
  openTelemetry,
  emf,
  list: (options) => list(locker, options),
  release: (options) => release(locker, "a", options),
};

/** What it throws, or rejects with. */
async function refusalOf(take: (options: never) => unknown, options: unknown): Promise<unknown> {
  try {
    await take(options as never);
  } catch (error) {
    return error;
  }
  return undefined;
}

/** What each cannot be without. */
const needed = (name: string) => {
  if (name === "singleFlight") return { keepFor: 1 };
  if (name === "lockPage") return { locker };
  if (name === "emf") return { namespace: "Locks" };
  return name.startsWith("lock") ? { key: "a" } : {};
};

describe.each(Object.entries(takers))("%s", (name, take) => {
  test("refuses an option that it does not have, by its name and with those it has", async () => {
    const error = await refusalOf(take, { ...needed(name), unheardOf: 1 });
    expect(error).toBeInstanceOf(LockOptionError);
    expect(error).toMatchObject({
      message: expect.stringMatching(/^unheardOf: got an unknown option, expected one of \w+/),
    });
  });

  test.each(["text", null, 5])("refuses options that are no object: %j", async (options) => {
    const error = await refusalOf(take, options);
    expect(error).toBeInstanceOf(LockOptionError);
    expect(error).toMatchObject({ message: expect.stringMatching(/^\w+: got .*, expected /) });
  });
});

test.each([
  ["period", () => oncePerTick("report", { period: "1x" as never }), /from 1s to 31d$/],
  ["required", () => idempotent({ required: "yes" as never }), /expected true or false$/],
  ["headers", () => idempotent({ headers: "etag" as never }), /expected an array of names of headers$/],
  ["now", () => release(locker, "a", { now: "yes" as never }), /expected true or false$/],
  ["cursor", () => list(locker, { cursor: 0 as never }), /expected what list gave$/],
  ["keyClass", () => emf({ namespace: "Locks", keyClass: "order" as never }), /expected a function$/],
  ["keyClass", () => openTelemetry({ keyClass: "order" as never }), /expected a function$/],
])("a wrong %s is named first, then what came and what fits", async (option, take, fits) => {
  const error = await refusalOf(take, undefined);
  expect(error).toMatchObject({ option, message: expect.stringMatching(fits) });
  expect((error as Error).message).toMatch(new RegExp(`^${option}: got `));
});

test("OpenTelemetry's own tracer and meter are options", () => {
  expect(openTelemetry({ meter: metrics.getMeter("own") })).toBeTypeOf("function");
});

test.each<[string, (lock: never) => unknown]>([
  ["postgresFence", postgresFence],
  ["dynamoFence", dynamoFence],
  ["dynamoFence.attributes", dynamoFence.attributes],
  ["redisFence", redisFence],
  ["fencedSet", (lock) => fencedSet(lock, "balance", "5")],
])("%s refuses what is no lock, and a lock without keys", (_name, fence) => {
  for (const wrong of [undefined, "order:42", {}, { keys: [], fence: 1 }])
    expect(() => fence(wrong as never)).toThrow(/^lock: got no lock, expected one with its keys$/);
});
