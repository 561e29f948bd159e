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
import { checkNames, checkOptional } from "../options/rules.ts";

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
 * @throws LockOptionError when an option is wrong
 *
 * @example
 * const locker = createLocker({ onEvent: openTelemetry({ keyClass: (key) => key.split(":")[0] }) });
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): (event: LockEvent) => void {
  checkNames(options, ["tracer", "meter", "keyClass"]);
  const { keyClass } = options;
  checkOptional("keyClass", keyClass);
  const tracer = options.tracer ?? trace.getTracer(name);
  const meter = options.meter ?? metrics.getMeter(name);
  const seconds = (metric: string, description: string) => {
    const advice = { explicitBucketBoundaries };
    const histogram = meter.createHistogram(`lock.${metric}`, { unit: "s", description, advice });
    return (ms: number, attributes: Attributes) => histogram.record(ms / 1000, attributes);
  };
  const acquireTime = seconds("acquire.duration", "From the call to its outcome. Its count is the attempts");
  const waitTime = seconds("wait.duration", "Spent waiting");
  const holdTime = seconds("hold.duration", "From acquire to release or loss");
  const leaseLeft = seconds("lease.remaining", "What was left of the lease at release");
  const losses = meter.createCounter("lock.losses", { unit: "{lock}", description: "Locks lost while held" });
  const renewals = meter.createCounter("lock.renewals", { unit: "{renewal}", description: "Leases renewed" });
  const held = meter.createUpDownCounter("lock.held", { unit: "{lock}", description: "Locks held now" });
  /** The span of each attempt that has not ended: of its acquire, then of its hold. */
  const spans = new Map<string, Begun>();

  function begin(
    what: string,
    id: string,
    attributes: Attributes,
    parent: Context,
    heldSince?: number,
  ): void {
    const span = tracer.startSpan(
      `lock.${what}`,
      { attributes: { ...attributes, "lock.attempt": id } },
      parent,
    );
    spans.set(id, { span, parent, heldSince });
  }

  return (event) => {
    const { id, key, mode, type } = event;
    const common = { "lock.mode": mode, ...(keyClass && { "lock.key_class": keyClass(key) }) };
    const { span, parent, heldSince } = spans.get(id) ?? {};
    const end = (error?: Error) => {
      spans.delete(id);
      if (error) {
        span?.setAttribute("error.type", error.name);
        span?.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      }
      span?.end();
    };
    const endAcquire = (took: number, error?: Error) => {
      const attributes = { ...common, "lock.outcome": type };
      acquireTime(took, error ? { ...attributes, "error.type": error.name } : attributes);
      span?.setAttributes(attributes);
      end(error);
    };
    const endHold = (heldFor: number, error?: Error) => {
      held.add(-1, common);
      holdTime(heldFor, common);
      end(error);
    };
    switch (type) {
      case "asked":
        begin("acquire", id, common, context.active());
        break;
      case "waiting":
        span?.addEvent(type, { "lock.place": event.place });
        break;
      case "acquired":
      case "busy":
        if (event.waited > 0) waitTime(event.waited, { ...common, "lock.outcome": type });
        endAcquire(event.took);
        if (type === "busy") break;
        begin(
          "hold",
          id,
          { ...common, "lock.handed_over": event.granted },
          parent ?? context.active(),
          performance.now(),
        );
        held.add(1, common);
        break;
      case "aborted":
      case "replayed":
        endAcquire(event.took);
        break;
      case "unavailable":
        if (event.step === "acquire") endAcquire(event.took, event.error);
        else span?.addEvent(type, { "lock.step": event.step });
        break;
      case "renewed":
        renewals.add(1, common);
        span?.addEvent(type);
        break;
      case "lost":
        losses.add(1, common);
        if (heldSince !== undefined) endHold(performance.now() - heldSince, event.error);
        break;
      case "released":
        // After a loss it is over already.
        if (heldSince !== undefined) {
          leaseLeft(event.remaining, common);
          endHold(event.heldFor);
        }
    }
  };
}

interface Begun {
  span: Span;
  parent: Context;
  /** When it was acquired, if it was. */
  heldSince: number | undefined;
}

/** The semantic conventions' for durations in seconds, and two more for leases. */
const explicitBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
