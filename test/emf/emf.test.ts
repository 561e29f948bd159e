import { readFileSync } from "node:fs";
import { Logger } from "@aws-lambda-powertools/logger";
import { Metrics, MetricUnit } from "@aws-lambda-powertools/metrics";
import { Ajv } from "ajv";
import { afterEach, expect, test, vi } from "vitest";
import { release } from "../../src/admin/index.ts";
import { emf } from "../../src/emf/index.ts";
import { createLocker, type LockEvent, LockOptionError } from "../../src/index.ts";
import { singleFlight } from "../../src/single-flight/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";

afterEach(() => vi.restoreAllMocks());

// What the schema in CloudWatch's specification of the embedded metric format asks of a line, in our own words.
// EMF_SCHEMA=schema.json checks by the published text itself, as a file outside of the repository has it.
const text = { type: "string", minLength: 1, maxLength: 255 };
const metric = {
  type: "object",
  required: ["Name"],
  properties: {
    Name: text,
    Unit: { enum: ["Seconds", "Microseconds", "Milliseconds", "Count", "Percent", "Bytes", "None"] },
  },
};
const directive = {
  type: "object",
  required: ["Namespace", "Dimensions", "Metrics"],
  properties: {
    Namespace: text,
    Dimensions: { type: "array", minItems: 1, items: { type: "array", maxItems: 9, items: text } },
    Metrics: { type: "array", maxItems: 100, items: metric },
  },
};
const ours = {
  type: "object",
  required: ["_aws"],
  properties: {
    _aws: {
      type: "object",
      required: ["Timestamp", "CloudWatchMetrics"],
      properties: {
        Timestamp: { type: "integer" },
        CloudWatchMetrics: { type: "array", items: directive },
      },
    },
  },
};
const published = process.env.EMF_SCHEMA && JSON.parse(readFileSync(process.env.EMF_SCHEMA, "utf8"));
// The published one says examples of texts, too.
const fits = new Ajv({ strict: false }).compile(published || ours);

interface Line extends Record<string, unknown> {
  _aws: {
    CloudWatchMetrics: [
      { Namespace: string; Dimensions: [string[]]; Metrics: { Name: string; Unit: string }[] },
    ];
  };
}

/** What was printed, each line checked: what it names as a dimension or a metric has to be in it. */
function linesOf(log: { mock: { calls: unknown[][] } }): Line[] {
  return log.mock.calls.map(([line]) => {
    const parsed = JSON.parse(`${line}`) as Line;
    expect(fits(parsed), JSON.stringify(fits.errors)).toBe(true);
    const [{ Dimensions, Metrics }] = parsed._aws.CloudWatchMetrics;
    for (const name of Dimensions[0]) expect(parsed[name]).toMatch(/^[\w-]{1,1024}$/);
    for (const { Name } of Metrics) expect(parsed[Name]).toEqual(expect.any(Number));
    return parsed;
  });
}

test("each outcome, renewal, loss and release is a line that CloudWatch takes", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const onEvent = emf({ namespace: "Locks", keyClass: (key) => key.split(":")[0] ?? "" });
  const locker = memoryLocker({ onEvent, ttl: "1m" });
  const lock = await locker.acquire("order:42", { owner: "me" });
  await locker.tryAcquire("order:42");
  await lock.extend();
  await lock.release();
  const lost = await locker.acquire("order:42");
  await release(locker, "order:42");
  await lost.extend();
  for (const work of [() => 1, () => 2])
    await singleFlight(locker, "order:7", { keepFor: "1m" }, async () => work());
  const offline = createLocker({ url: "http://127.0.0.1:9", token: "t", requestTimeout: 100, onEvent });
  await offline.acquire("order:1").catch(() => {});
  const lines = linesOf(log);
  const seen = lines.map((line) => [
    line.Outcome,
    line._aws.CloudWatchMetrics[0].Metrics.map(({ Name }) => Name),
  ]);
  const attempt = ["Attempts", "AcquireTime", "WaitTime"];
  expect(seen).toEqual([
    ["acquired", attempt],
    ["busy", attempt],
    [undefined, ["Renewals"]],
    [undefined, ["HoldTime", "LeaseLeft"]],
    ["acquired", attempt],
    [undefined, ["Losses"]],
    ["acquired", attempt],
    [undefined, ["HoldTime", "LeaseLeft"]],
    ["replayed", ["Attempts", "AcquireTime"]],
    ["unavailable", ["Attempts", "AcquireTime"]],
  ]);
  expect(lines[0]).toMatchObject({ Mode: "exclusive", KeyClass: "order", Attempts: 1 });
  expect(JSON.stringify(lines)).not.toContain("order:42");
});

test.each<[unknown, string]>([
  ["", "none"],
  ["  ", "none"],
  [undefined, "none"],
  [7, "7"],
  ["größe", "gr??e"],
  ["a".repeat(2000), "a".repeat(1024)],
])("the dimension of the class %j is one that CloudWatch takes", async (given, value) => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const onEvent = emf({ namespace: "Locks", keyClass: () => given as string });
  await memoryLocker({ onEvent }).acquire("order:42");
  expect(JSON.parse(`${log.mock.calls[0]?.[0]}`)).toMatchObject({ KeyClass: value });
});

test("where Lambda's log format is JSON, a line goes past console.log, which would wrap it", async () => {
  vi.stubEnv("AWS_LAMBDA_LOG_FORMAT", "JSON");
  const log = vi.spyOn(console, "log");
  const write = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  await memoryLocker({ onEvent: emf({ namespace: "Locks" }) }).acquire("order:42");
  const [line] = write.mock.calls[0] ?? [];
  vi.unstubAllEnvs();
  expect(log).not.toHaveBeenCalled();
  expect(line).toMatch(/^\{"_aws":[^\n]*\}\n$/);
});

test.each(["", " Locks", ":Locks", "a".repeat(256), "Lo\ncks", undefined])(
  "the namespace %j is refused",
  (namespace) => {
    expect(() => emf({ namespace: namespace as string })).toThrow(LockOptionError);
  },
);

test("the recipe for Powertools' Logger and Metrics in docs/operations.md works", async () => {
  const printed = [vi.spyOn(console, "log"), vi.spyOn(console, "warn")].map((spy) =>
    spy.mockImplementation(() => {}),
  );
  const logger = new Logger({ serviceName: "orders" });
  const metrics = new Metrics({ namespace: "Locks", serviceName: "orders" });
  const logged = vi.spyOn(logger, "warn").mockImplementation(() => {});
  const onEvent = (event: LockEvent) => {
    if (event.type === "acquired") metrics.addMetric("LockWait", MetricUnit.Milliseconds, event.waited);
    if (event.type === "busy") metrics.addMetric("LockBusy", MetricUnit.Count, 1);
    if (event.type === "lost" || event.type === "unavailable")
      logger.warn("lock", { key: event.key, attempt: event.id, error: event.error });
  };
  const locker = memoryLocker({ onEvent });
  const lock = await locker.acquire("order:42");
  await locker.tryAcquire("order:42");
  await release(locker, "order:42");
  await lock.extend();
  expect(logged).toHaveBeenCalledWith("lock", expect.objectContaining({ key: "order:42" }));
  const emitted = JSON.stringify(metrics.serializeMetrics());
  expect(emitted).toContain("LockWait");
  expect(emitted).toContain("LockBusy");
  metrics.clearMetrics();
  expect(printed).toHaveLength(2);
});
