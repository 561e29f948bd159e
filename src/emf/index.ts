// Metrics of locks in CloudWatch's embedded metric format: lines of a log that CloudWatch makes metrics of.
import type { LockEvent } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { checkNames, checkOptional } from "../options/rules.ts";

export interface EmfOptions {
  /** Of CloudWatch, up to 255 characters. */
  namespace: string;
  /**
   * The dimension `KeyClass` for a key, such as `order` for `order:42`. Return one of few texts: CloudWatch bills each as
   * metrics of their own. It is cut to 1024 characters, and other characters than ASCII become `?`. Without it no key is
   * shown.
   */
  keyClass?: ((key: string) => string) | undefined;
}

type Unit = "Count" | "Milliseconds";
type Metrics = Record<string, [number, Unit]>;

/**
 * A listener for the `onEvent` option. Prints one line for each outcome, renewal, loss and release, by `console.log`; past
 * it, to stdout, where a Lambda function has the JSON log format.
 * Dimensions: `Mode`, of an attempt `Outcome`, and `KeyClass` if there is one.
 *
 * @example
 * const locker = createLocker({ onEvent: emf({ namespace: "Locks" }) });
 *
 * @throws LockOptionError when an option is wrong
 */
export function emf(options: EmfOptions): (event: LockEvent) => void {
  checkNames(options, ["namespace", "keyClass"]);
  const { namespace, keyClass } = options;
  checkOptional("keyClass", keyClass);
  if (typeof namespace !== "string" || !/^[\w./#-][\w ./#:-]{0,254}$/.test(namespace))
    throw new LockOptionError("namespace", show(namespace), "1 to 255 letters, digits and . - _ / # :");
  return (event) => {
    const metrics = metricsOf(event);
    if (!metrics) return;
    const outcome = "AcquireTime" in metrics ? { Outcome: event.type } : {};
    const dimensions = {
      ...{ Mode: event.mode, ...outcome },
      ...(keyClass ? { KeyClass: dimensionValue(keyClass(event.key)) } : {}),
    };
    const values = Object.fromEntries(Object.entries(metrics).map(([name, [value]]) => [name, value]));
    const directive = {
      Namespace: namespace,
      Dimensions: [Object.keys(dimensions)],
      Metrics: Object.entries(metrics).map(([Name, [, Unit]]) => ({ Name, Unit })),
    };
    const about = { _aws: { Timestamp: Date.now(), CloudWatchMetrics: [directive] } };
    printLine(JSON.stringify({ ...about, ...dimensions, ...values, attempt: event.id }));
  };
}

/** CloudWatch takes 1 to 1024 characters of ASCII, not all of them blank, and drops the line of any other. */
function dimensionValue(text: unknown): string {
  return (
    `${text ?? ""}`
      .replace(/[^ -~]/g, "?")
      .slice(0, 1024)
      .trim() || "none"
  );
}

/** With Lambda's JSON log format `console.log` wraps a line in another one, of which CloudWatch makes no metrics. */
function printLine(line: string): void {
  const { env, stdout } = globalThis.process ?? {};
  if (env?.AWS_LAMBDA_LOG_FORMAT === "JSON") stdout?.write(`${line}\n`);
  else console.log(line);
}

/** Undefined for an event that is no outcome. */
function metricsOf(event: LockEvent): Metrics | undefined {
  const ms = (value: number): [number, Unit] => [value, "Milliseconds"];
  const one: [number, Unit] = [1, "Count"];
  switch (event.type) {
    case "acquired":
    case "busy":
      return { Attempts: one, AcquireTime: ms(event.took), WaitTime: ms(event.waited) };
    case "aborted":
    case "replayed":
      return { Attempts: one, AcquireTime: ms(event.took) };
    case "unavailable":
      return event.step === "acquire" ? { Attempts: one, AcquireTime: ms(event.took) } : { Unavailable: one };
    case "renewed":
      return { Renewals: one };
    case "lost":
      return { Losses: one };
    case "released":
      return { HoldTime: ms(event.heldFor), LeaseLeft: ms(event.remaining) };
    default:
      return undefined;
  }
}
