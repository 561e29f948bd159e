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
import { checkNames, checkOptional, isFunction } from "../options/rules.ts";

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
  const { tracer = trace.getTracer(name), meter } = options;
  checkHas("startSpan", "tracer", tracer);
  if (meter !== undefined) checkHas("createHistogram", "meter", meter);
  let made: (Instruments & { by: unknown }) | undefined;
  /** The global provider's are vain until that is set, at any time. A tracer of it waits by itself. */
  function instrumentsNow(): Instruments {
    const by = meter ?? metrics.getMeterProvider();
    if (made?.by !== by) made = { ...createInstruments(meter ?? metrics.getMeter(name)), by };
    return made;
  }
  /** The span of each attempt that has not ended: of its acquire, then of its hold. */
  const spans = new Map<string, Begun>();

  return (event) => {
    const { id, key, mode, type } = event;
    const {
      span,
      parent = context.active(),
      heldSince,
      instruments = instrumentsNow(),
      common = { "lock.mode": mode, ...(keyClass && { "lock.key_class": keyClass(key) }) },
    } = spans.get(id) ?? {};
    const { acquireTime, waitTime, holdTime, leaseLeft, losses, renewals, held } = instruments;
    const begin = (what: string, more: Attributes, since?: number) => {
      const attributes = { ...common, ...more, "lock.attempt": id };
      const started = tracer.startSpan(`lock.${what}`, { attributes }, parent);
      spans.set(id, { span: started, parent, common, instruments, heldSince: since });
    };
    const end = (attributes: Attributes, error?: Error) => {
      spans.delete(id);
      span?.setAttributes(attributes);
      if (error) span?.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      span?.end();
    };
    const endAcquire = (took: number, error?: Error) => {
      const attributes = { ...common, "lock.outcome": type, ...typeOf(error) };
      acquireTime(took, attributes);
      end(attributes, error);
    };
    const endHold = (heldFor: number, error?: Error) => {
      // A resumed lock was acquired elsewhere.
      if (span) held.add(-1, common);
      holdTime(heldFor, common);
      end(typeOf(error), error);
    };
    switch (type) {
      case "asked":
        begin("acquire", {});
        break;
      case "waiting":
        span?.addEvent(type, { "lock.place": event.place });
        break;
      case "acquired":
      case "busy":
        if (event.waited > 0) waitTime(event.waited, { ...common, "lock.outcome": type });
        endAcquire(event.took);
        if (type === "busy") break;
        begin("hold", { "lock.handed_over": event.granted }, performance.now());
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
        if (event.stillHeld) {
          leaseLeft(event.remaining, common);
          endHold(event.heldFor);
        }
    }
  };
}

function createInstruments(meter: Meter) {
  const seconds = (metric: string, description: string) => {
    const advice = { explicitBucketBoundaries };
    const histogram = meter.createHistogram(`lock.${metric}`, { unit: "s", description, advice });
    return (ms: number, attributes: Attributes) => histogram.record(ms / 1000, attributes);
  };
  return {
    acquireTime: seconds("acquire.duration", "Until its outcome"),
    waitTime: seconds("wait.duration", "Spent waiting"),
    holdTime: seconds("hold.duration", "Until release or loss"),
    leaseLeft: seconds("lease.remaining", "At release"),
    losses: meter.createCounter("lock.losses", { unit: "{lock}" }),
    renewals: meter.createCounter("lock.renewals", { unit: "{renewal}" }),
    held: meter.createUpDownCounter("lock.held", { unit: "{lock}" }),
  };
}

type Instruments = ReturnType<typeof createInstruments>;

function typeOf(error: Error | undefined): Attributes {
  return error ? { "error.type": error.name } : {};
}

interface Begun {
  span: Span;
  parent: Context;
  /** What the whole attempt is counted by: what goes up comes down, whatever a downgrade makes of its mode. */
  common: Attributes;
  instruments: Instruments;
  /** When it was acquired, if it was. */
  heldSince: number | undefined;
}

function checkHas(method: string, option: string, given: object): void {
  if (!isFunction(Object(given)[method]))
    throw new LockOptionError(option, show(given), `an object with ${method}`);
}

/** The semantic conventions' for durations in seconds, and two more for leases. */
const explicitBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
