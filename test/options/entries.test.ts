import { describe, expect, test } from "vitest";
import * as cloudflare from "../../src/adapters/cloudflare.ts";
import { lockFetch } from "../../src/adapters/fetch.ts";
import { lock } from "../../src/adapters/hono.ts";
import { lockHandler, lockRecords } from "../../src/adapters/lambda.ts";
import lockMiddleware from "../../src/adapters/middy.ts";
import { oncePerTick } from "../../src/adapters/schedule.ts";
import { list, release, setLimit } from "../../src/admin/index.ts";
import { emf } from "../../src/emf/index.ts";
import { idempotent } from "../../src/idempotency/index.ts";
import { createLocker, LockOptionError } from "../../src/index.ts";
import { openTelemetry } from "../../src/otel/index.ts";
import { lockPage } from "../../src/page/index.ts";
import { singleFlight } from "../../src/single-flight/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";

// Whatever takes options says what is wrong with them, whichever entry it is.

type Use = (options: never) => unknown;

const locker = memoryLocker();
const adapters: Record<string, Use> = {
  middy: (options) => lockMiddleware(options),
  lockHandler: (options) => lockHandler(options, () => {}),
  lockRecords: (options) => lockRecords(options, () => {}),
  lockFetch: (options) => lockFetch(options, () => new Response()),
  hono: (options) => lock(options),
  "lockFetch of a Worker": (options) => cloudflare.lockFetch(options, () => new Response()),
  lockScheduled: (options) => cloudflare.lockScheduled(options, () => {}),
  lockQueue: (options) => cloudflare.lockQueue(options, () => {}),
};
const others: Record<string, Use> = {
  createLocker: (options) => createLocker(options),
  acquire: (options) => locker.acquire("k", options),
  withLock: (options) => locker.withLock("k", options, () => {}),
  oncePerTick: (options) => oncePerTick("report", options),
  idempotent: (options) => idempotent(options),
  singleFlight: (options) => singleFlight(locker, "k", options, () => {}),
  "admin's list": (options) => list(locker, options),
  "admin's release": (options) => release(locker, "k", options),
  lockPage: (options) => lockPage(options),
  emf: (options) => emf(options),
  openTelemetry: (options) => openTelemetry(options),
};

async function refusal(use: Use, options: unknown): Promise<LockOptionError> {
  try {
    await use(options as never);
  } catch (error) {
    expect(error).toBeInstanceOf(LockOptionError);
    return error as LockOptionError;
  }
  throw new Error("nothing was refused");
}

const odd: [string, unknown][] = [
  ["null", null],
  ["NaN", Number.NaN],
  ["a symbol", Symbol("a\nb")],
  ["an object without a prototype", Object.create(null)],
  ["a text", "a text"],
];

describe.each(Object.entries({ ...adapters, ...others }))("%s", (_, use) => {
  test.each([null, 5, "5s"])("refuses %j in place of its options", async (options) => {
    await refusal(use, options);
  });

  test("refuses a name that is no option", async () => {
    const known = { key: "k", keepFor: 0, namespace: "Locks", locker };
    const names = Object.keys(known) as (keyof typeof known)[];
    for (const given of [{}, known, ...names.map((name) => ({ [name]: known[name] }))]) {
      const error = await refusal(use, { ...given, tll: 5 });
      if (error.option === "tll") return;
    }
    throw new Error("it was never named");
  });
});

describe.each(Object.entries(adapters))("%s", (_, use) => {
  test.each(odd)("refuses %s in each of its own options, and names it", async (_, value) => {
    for (const option of ["locker", "onError", "take", "deadline", "waitUntil"]) {
      const error = await refusal(use, { key: "k", [option]: value });
      expect(error.option).toBe(option);
      expect(error.message).toMatch(/^\w+: got [^\n]+, expected [^\n]+$/);
    }
  });
});

test.each(odd)("%s is refused wherever a function, a flag or a list is asked for", async (_, value) => {
  const uses: [option: string, use: Use][] = [
    ["required", (options) => idempotent(options)],
    ["headers", (options) => idempotent(options)],
    ["keepIf", (options) => idempotent(options)],
    ["holdFor", (options) => oncePerTick("report", options)],
    ["offset", (options) => oncePerTick("report", options)],
    ["now", (options) => release(locker, "k", options)],
    ["cursor", (options) => list(locker, options)],
    ["limit", (options: { limit: number }) => setLimit(locker, "k", options.limit)],
    ["authorize", (options: object) => lockPage({ locker, ...options })],
    ["keyClass", (options: object) => emf({ namespace: "Locks", ...options })],
    ["keyClass", (options) => openTelemetry(options)],
    ["ifBusy", (options: object) => lockMiddleware({ lock: () => ({}) as never, ...options })],
  ];
  for (const [option, use] of uses)
    expect(await refusal(use, { [option]: value })).toMatchObject({
      option,
      message: expect.stringMatching(/^\w+: got [^\n]+, expected [^\n]+$/),
    });
});
