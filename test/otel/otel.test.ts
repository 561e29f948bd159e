import middy from "@middy/core";
import { context, metrics, trace } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-node";
import { Hono } from "hono";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { lock as honoLock } from "../../src/adapters/hono.ts";
import { lockHandler } from "../../src/adapters/lambda.ts";
import lockMiddleware from "../../src/adapters/middy.ts";
import { release } from "../../src/admin/index.ts";
import { createLocker, LockBusyError, type Locker, LockOptionError } from "../../src/index.ts";
import { openTelemetry } from "../../src/otel/index.ts";
import { singleFlight } from "../../src/single-flight/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { lambda } from "../helpers/lambda.ts";

// The real SDK, with exporters that keep what they get.

const spans = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
const exported = new InMemoryMetricExporter(AggregationTemporality.DELTA);
const reader = new PeriodicExportingMetricReader({ exporter: exported, exportIntervalMillis: 3_600_000 });
const meters = new MeterProvider({ readers: [reader] });

beforeAll(() => provider.register());
beforeEach(async () => {
  await reader.forceFlush();
  exported.reset();
  spans.reset();
});
afterAll(async () => {
  await Promise.all([provider.shutdown(), meters.shutdown()]);
  trace.disable();
  context.disable();
});

const onEvent = () =>
  openTelemetry({
    tracer: provider.getTracer("test"),
    meter: meters.getMeter("test"),
    keyClass: (key) => key.split(":")[0] ?? "",
  });

const finished = (name: string) => spans.getFinishedSpans().filter((span) => span.name === name);

/** Each metric's points, with their attributes. */
async function metricsSeen() {
  await reader.forceFlush();
  const all = exported.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
  return new Map(
    all
      .flatMap(({ metrics }) => metrics)
      .map(({ descriptor, dataPoints }) => [descriptor.name, { descriptor, dataPoints }]),
  );
}

test("a lock is a span of its acquire and a span of its hold, under the span that asked", async () => {
  const locker = memoryLocker({ onEvent: onEvent() });
  await provider.getTracer("app").startActiveSpan("work", async (parent) => {
    await locker.withLock("order:42", () => {});
    parent.end();
  });
  const [work] = finished("work");
  for (const name of ["lock.acquire", "lock.hold"]) {
    const [span, ...more] = finished(name);
    expect(more).toEqual([]);
    expect(span?.parentSpanContext?.spanId).toBe(work?.spanContext().spanId);
    expect(span?.attributes).toMatchObject({ "lock.mode": "exclusive", "lock.key_class": "order" });
    expect(JSON.stringify(span?.attributes)).not.toContain("order:42");
  }
  expect(finished("lock.acquire")[0]?.attributes["lock.outcome"]).toBe("acquired");
});

test("times are histograms in seconds, attempts are told by outcome, and what is held counts up and down", async () => {
  const locker = memoryLocker({ onEvent: onEvent(), ttl: "1m" });
  const lock = await locker.acquire({ key: "api:x", limit: 2 });
  await expect(locker.acquire("api:x")).rejects.toBeInstanceOf(LockBusyError);
  await lock.extend();
  const held = await metricsSeen();
  expect(held.get("lock.held")?.dataPoints).toMatchObject([
    { value: 1, attributes: { "lock.mode": "permit" } },
  ]);
  const { descriptor, dataPoints } = held.get("lock.acquire.duration") ?? {};
  expect(descriptor).toMatchObject({ unit: "s" });
  expect(dataPoints?.map(({ attributes }) => attributes["lock.outcome"]).sort()).toEqual([
    "acquired",
    "busy",
  ]);
  expect(held.get("lock.renewals")?.dataPoints).toMatchObject([{ value: 1 }]);
  exported.reset();
  await lock.release();
  const after = await metricsSeen();
  expect(after.get("lock.held")?.dataPoints).toMatchObject([{ value: -1 }]);
  const [left] = after.get("lock.lease.remaining")?.dataPoints ?? [];
  const sum = (left?.value as { sum: number } | undefined)?.sum;
  expect(sum).toBeGreaterThan(30);
  expect(sum).toBeLessThanOrEqual(60);
  expect(after.get("lock.hold.duration")?.dataPoints).toHaveLength(1);
});

test("a wait, a loss, an outage and an abort are told", async () => {
  const locker = memoryLocker({ onEvent: onEvent(), ttl: "1m" });
  const lock = await locker.acquire("a");
  const abort = new AbortController();
  const aborted = locker.acquire("a", { wait: "1m", signal: abort.signal }).catch((error) => error);
  abort.abort(new Error("enough"));
  expect(await aborted).toMatchObject({ message: "enough" });
  await release(locker, "a");
  expect(await lock.extend()).toBe(false);
  const offline = createLocker({
    url: "http://127.0.0.1:9",
    token: "t",
    requestTimeout: 100,
    onEvent: onEvent(),
  });
  await offline.acquire("b").catch(() => {});
  expect(finished("lock.hold")[0]?.attributes["error.type"]).toBe("LockLostError");
  expect(finished("lock.acquire").map(({ attributes }) => attributes["lock.outcome"])).toEqual([
    ...["acquired", "aborted", "unavailable"],
  ]);
  expect(finished("lock.acquire").at(-1)).toMatchObject({ status: { code: 2 } });
  const seen = await metricsSeen();
  expect(seen.get("lock.losses")?.dataPoints).toMatchObject([{ value: 1 }]);
  const unavailable = seen
    .get("lock.acquire.duration")
    ?.dataPoints.find(({ attributes }) => attributes["lock.outcome"] === "unavailable");
  expect(unavailable?.attributes["error.type"]).toBe("LockUnavailableError");
});

test("an acquire that is answered by another's result ends, too", async () => {
  const locker = memoryLocker({ onEvent: onEvent() });
  for (const work of [async () => 1, async () => 2])
    expect(await singleFlight(locker, "order:1", { keepFor: "1m" }, work)).toBe(1);
  expect(finished("lock.acquire").map(({ attributes }) => attributes["lock.outcome"])).toEqual([
    "acquired",
    "replayed",
  ]);
  expect(finished("lock.hold")).toHaveLength(1);
});

test("a resumed lock is told of at its release, and counted down only where it was counted up", async () => {
  const locker = memoryLocker({ ttl: "1m" });
  const elsewhere = await locker.acquire("order:1");
  const lock = locker.resume(JSON.stringify(elsewhere), { onEvent: onEvent() });
  await lock.extend();
  await lock.release();
  const seen = await metricsSeen();
  for (const name of ["lock.hold.duration", "lock.lease.remaining", "lock.renewals"])
    expect(seen.get(name)?.dataPoints, name).toHaveLength(1);
  expect(seen.get("lock.held")?.dataPoints ?? []).toEqual([]);
});

test("what is held is counted down as it was counted up, whatever its mode has become", async () => {
  const tell = onEvent();
  const about = { id: "1", key: "a", keys: ["a"], weight: 1, owner: undefined };
  tell({
    ...about,
    mode: "exclusive",
    type: "acquired",
    took: 1,
    waited: 0,
    granted: false,
    fence: undefined,
  });
  tell({
    ...{ ...about, mode: "shared", type: "released", stillHeld: true },
    ...{ heldFor: 5, remaining: 1, kept: false },
  });
  const points = (await metricsSeen()).get("lock.held")?.dataPoints;
  expect(points).toMatchObject([{ value: 0, attributes: { "lock.mode": "exclusive" } }]);
});

test.each([
  ["tracer", {}],
  ["tracer", 5],
  ["meter", {}],
  ["meter", null],
  ["keyClass", "order"],
  ["traces", true],
])("the option %s is refused that is %j", (name, value) => {
  const open = () => openTelemetry({ [name]: value });
  expect(open).toThrow(LockOptionError);
  expect(open).toThrow(new RegExp(`^${name}: got .+, expected `));
});

test("a global provider that is set after the locker was made gets spans and metrics, too", async () => {
  const locker = memoryLocker({ onEvent: openTelemetry() });
  metrics.setGlobalMeterProvider(meters);
  await locker.withLock("order:42", () => {});
  metrics.disable();
  expect([...(await metricsSeen()).keys()]).toContain("lock.hold.duration");
  expect(finished("lock.hold")).toHaveLength(1);
});

test("one that is set after the first lock gets the metrics of the next, and what was begun before is not counted down", async () => {
  const locker = memoryLocker({ onEvent: openTelemetry() });
  const before = await locker.acquire("order:41");
  metrics.setGlobalMeterProvider(meters);
  await before.release();
  const lock = await locker.acquire("order:42");
  metrics.disable();
  expect((await metricsSeen()).get("lock.held")?.dataPoints.map(({ value }) => value)).toEqual([1]);
  await lock.release();
});

test("without keyClass no key is shown", async () => {
  const tracer = provider.getTracer("test");
  const locker = memoryLocker({ onEvent: openTelemetry({ tracer, meter: meters.getMeter("test") }) });
  await (await locker.acquire("secret-customer")).release();
  const all = spans.getFinishedSpans().map(({ attributes, name, events }) => ({ attributes, name, events }));
  expect(JSON.stringify(all)).not.toContain("secret-customer");
});

describe("the spans hang under the request's", () => {
  const within = (work: () => Promise<unknown>) =>
    provider.getTracer("app").startActiveSpan("request", async (span) => {
      await work();
      span.end();
    });
  const adapters: Record<string, (locker: Locker) => Promise<unknown>> = {
    middy: (locker) => {
      const handler = middy(async () => "done").use(lockMiddleware({ locker, key: "order:1" }));
      return handler({}, lambda() as never) as Promise<unknown>;
    },
    "a Lambda handler": (locker) => lockHandler({ locker, key: "order:1" }, async () => "done")({}, lambda()),
    hono: async (locker) => {
      const app = new Hono().get("/", honoLock({ locker, key: "order:1" }), (c) => c.text("done"));
      await (await app.request("/")).text();
    },
  };
  test.each(Object.entries(adapters))("under %s", async (_, call) => {
    const locker = memoryLocker({ onEvent: onEvent() });
    await within(() => call(locker));
    const [request] = finished("request");
    const names = ["lock.acquire", "lock.hold"];
    expect(names.map((name) => finished(name)[0]?.parentSpanContext?.spanId)).toEqual(
      names.map(() => request?.spanContext().spanId),
    );
  });
});

test("a lock that is waited for has its places as events of the span", async () => {
  const locker = memoryLocker({ onEvent: onEvent() });
  const first = await locker.acquire("order:1");
  const second = locker.acquire("order:1", { wait: "1m" });
  await new Promise(setImmediate);
  await first.release();
  await (await second).release();
  const [, span] = finished("lock.acquire");
  expect(span?.events.map(({ name }) => name)).toContain("waiting");
});
