// What the standard says of a request before anything is asked: https://w3c.github.io/web-locks/#api-lock-manager-request
import { isSignal } from "../options/rules.ts";
import type { WebLockMode } from "./index.ts";
import { keyOf } from "./names.ts";

/** A request, checked. */
export interface Request {
  name: string;
  key: string;
  mode: WebLockMode;
  ifAvailable: boolean;
  steal: boolean;
  signal: AbortSignal | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: what it takes and gives, its caller says
  callback: (lock: any) => any;
}

/**
 * Reads the arguments of `request` as a browser does.
 * @throws TypeError, or a DOMException: NotSupportedError, or what the signal aborted with
 */
export function readRequest(args: readonly unknown[]): Request {
  if (args.length < 2) throw new TypeError("request needs a name and a callback");
  // A text of it, or a TypeError for a symbol.
  const name = `${args[0]}`;
  const [options, callback] = args.length > 2 ? [args[1] ?? {}, args[2]] : [{}, args[1]];
  if (Object(options) !== options) throw new TypeError("request: the options are no object");
  if (typeof callback !== "function") throw new TypeError("request: the callback is no function");
  const { ifAvailable, mode = "exclusive", signal, steal } = options as Record<string, unknown>;
  const kind = `${mode}`;
  if (kind !== "exclusive" && kind !== "shared")
    throw new TypeError('request: the mode is neither "exclusive" nor "shared"');
  if (signal !== undefined && !isSignal(signal)) throw new TypeError("request: the signal is no AbortSignal");
  if (name.startsWith("-")) throw unsupported('A name cannot begin with "-"');
  if (steal && ifAvailable) throw unsupported("steal and ifAvailable cannot both be true");
  if (steal && kind !== "exclusive") throw unsupported("Only an exclusive lock can be stolen");
  if (signal && (steal || ifAvailable))
    throw unsupported("A signal goes neither with steal nor with ifAvailable");
  (signal as AbortSignal | undefined)?.throwIfAborted();
  return {
    ...{ name, key: keyOf(name), mode: kind, ifAvailable: !!ifAvailable, steal: !!steal },
    ...{ signal: signal as AbortSignal | undefined, callback: callback as Request["callback"] },
  };
}

export function unsupported(message: string): DOMException {
  return new DOMException(message, "NotSupportedError");
}
