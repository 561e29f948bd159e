// Traces and metrics of locks by OpenTelemetry. `@opentelemetry/api` is the user's own.
import {
  type Attributes,
  type Context,
  context,
  type Meter,
  metrics,
  type Span,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { LockEvent } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { onlyOptions } from "../options/names.ts";

export interface OpenTelemetryOptions {
  /** @default the global provider's "serverless-lock" */
  tracer?: Tracer | undefined;
  /** @default the global provider's "serverless-lock" */
  meter?: Meter | undefined;
  /**
   * The attribute `lock.key_class` for a key, such as `order` for `order:42`. Return one of few texts: each makes time
   * series of its own. Without it no key is shown.
   */
  keyClass?: ((key: string) => string) | undefined;
}

const name = "serverless-lock";

/**
 * A listener for the `onEvent` option. Spans: `lock.acquire` from the call to its outcome, `lock.hold` from acquire to
 * release or loss. Metrics: docs/operations.md lists them; times are histograms in seconds.
 *
 * @example
 * const locker = createLocker({ onEvent: openTelemetry({ keyClass: (key) => key.split(":")[0] }) });
 *
 * @throws LockOptionError when an option is wrong
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): (event: LockEvent) => void {
  const { keyClass } = onlyOptions(options, ["tracer", "meter", "keyClass"]);
  if (keyClass !== undefined && typeof keyClass !== "function")
    throw new LockOptionError("keyClass", show(keyClass), "a function");
  const tracer = options.tracer ?? trace.getTracer(name);
  const meter = options.meter ?? metrics.getMeter(name);
  const seconds = (metric: string, description: string) => {
    const record = meter.createHistogram(metric, {
      unit: "s",
      description,
      advice: { explicitBucketBoundaries },
    });
    return (ms: number, attributes: Attributes) => record.record(ms / 1000, attributes);
  };
  const acquireTime = seconds(
    "lock.acquire.duration",
    "From the call to its outcome; its count is the attempts",
  );
  const waitTime = seconds("lock.wait.duration", "Spent waiting by those that were ready to wait");
  const holdTime = seconds("lock.hold.duration", "From acquire to release or loss");
  const leaseLeft = seconds("lock.lease.remaining", "What was left of the lease at release");
  const losses = meter.createCounter("lock.losses", { unit: "{lock}", description: "Locks lost while held" });
  const renewals = meter.createCounter("lock.renewals", { unit: "{renewal}", description: "Leases renewed" });
  const held = meter.createUpDownCounter("lock.held", { unit: "{lock}", description: "Locks held now" });
  /** What has begun and not ended, by the attempt's id. */
  const acquiring = new Map<string, { span: Span; parent: Context }>();
  const holding = new Map<string, { span: Span; since: number }>();

  function endAcquire(event: LockEvent, outcome: string, took: number, error?: Error): Context | undefined {
    const { span, parent } = acquiring.get(event.id) ?? {};
    acquiring.delete(event.id);
    const common = { ...attributesOf(event, keyClass), "lock.outcome": outcome };
    acquireTime(took, error ? { ...common, "error.type": error.name } : common);
    if ("waited" in event && event.waited > 0) waitTime(event.waited, common);
    span?.setAttributes(common);
    if (error) fail(span, error);
    span?.end();
    return parent;
  }

  function endHold(event: LockEvent, error?: Error): void {
    const { span, since } = holding.get(event.id) ?? {};
    if (!span || since === undefined) return;
    holding.delete(event.id);
    const common = attributesOf(event, keyClass);
    held.add(-1, common);
    holdTime("heldFor" in event ? event.heldFor : performance.now() - since, common);
    if ("remaining" in event) leaseLeft(event.remaining, common);
    if (error) fail(span, error);
    span.end();
  }

  return (event) => {
    const common = attributesOf(event, keyClass);
    switch (event.type) {
      case "asked": {
        const parent = context.active();
        const span = tracer.startSpan(
          "lock.acquire",
          { attributes: { ...common, "lock.attempt": event.id } },
          parent,
        );
        acquiring.set(event.id, { span, parent });
        break;
      }
      case "waiting":
        acquiring.get(event.id)?.span.addEvent("waiting", { "lock.place": event.place });
        break;
      case "acquired": {
        const parent = endAcquire(event, "acquired", event.took);
        const attributes = { ...common, "lock.attempt": event.id, "lock.handed_over": event.granted };
        const span = tracer.startSpan("lock.hold", { attributes }, parent);
        holding.set(event.id, { span, since: performance.now() });
        held.add(1, common);
        break;
      }
      case "busy":
      case "aborted":
        endAcquire(event, event.type, event.took);
        break;
      case "unavailable":
        if (event.step === "acquire") endAcquire(event, "unavailable", event.took, event.error);
        else holding.get(event.id)?.span.addEvent("unavailable", { "lock.step": event.step });
        break;
      case "renewed":
        renewals.add(1, common);
        holding.get(event.id)?.span.addEvent("renewed");
        break;
      case "lost":
        losses.add(1, common);
        endHold(event, event.error);
        break;
      case "released":
        endHold(event);
    }
  };
}

/** The semantic conventions' for durations in seconds, and two more for leases. */
const explicitBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

function attributesOf({ key, mode }: LockEvent, keyClass: OpenTelemetryOptions["keyClass"]): Attributes {
  return { "lock.mode": mode, ...(keyClass ? { "lock.key_class": keyClass(key) } : {}) };
}

function fail(span: Span | undefined, error: Error): void {
  span?.setAttribute("error.type", error.name);
  span?.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
}
