import type { Take } from "../adapters/run.ts";
import { isStream } from "../adapters/values.ts";
import type { Duration, Lock, Locker, LockOptions, Targets } from "../api.ts";
import { LockBusyError, type LockError, LockOptionError, show } from "../errors.ts";
import { tell } from "../events.ts";
import { checkNames, checkOptional } from "../options/rules.ts";
import { readKey } from "../options/targets.ts";
import { ResultMismatchError } from "../single-flight/errors.ts";
import { type OwnOptions, readOwn, takeFlight, unheldFlight } from "../single-flight/single-flight.ts";
import { answersResponse, bodyOf, keyOf } from "./request.ts";
import { type Kept, keep, readReply, refusal } from "./response.ts";

/** Options of `idempotent`. */
export interface IdempotentOptions<Input extends unknown[] = unknown[]> {
  /**
   * The key of a request, of all that the handler gets; undefined if it has none. Whoever knows a key gets its answer:
   * put the account into it. @default method, path and the header `Idempotency-Key`
   */
  key?: ((...input: Input) => string | undefined | Promise<string | undefined>) | undefined;
  /** Refuses a request without a key by 400. @default false: it is handled without a lock */
  required?: boolean | undefined;
  /** For how long the answer is kept. 0 to 31 days. @default "24h" */
  keepFor?: Duration | undefined;
  /** How long a second request waits for the answer to the first, before 409. @default 0 */
  wait?: Duration | undefined;
  /**
   * Which answers are kept, by their status; 200 for a result without one. One of 423 never is. If it throws, the answer is not kept, and
   * `onError` is told. @default below 500
   */
  keepIf?: ((status: number) => boolean | Promise<boolean>) | undefined;
  /** The headers that are kept, in lower case. `set-cookie` never is. */
  headers?: readonly string[] | undefined;
  /** The longest answer that is kept, as text, in bytes. @default 262_144 */
  maxBytes?: number | undefined;
  /** Told why an answer is not kept that its own caller gets. @default console.error */
  onError?: ((error: Error) => unknown) | undefined;
}

const keptHeaders = [
  "content-type",
  "content-language",
  "content-encoding",
  "location",
  "etag",
  "cache-control",
  "link",
  "retry-after",
];

const optionNames = ["key", "required", "keepFor", "wait", "keepIf", "headers", "maxBytes", "onError"];

/**
 * The options that make a request with an `Idempotency-Key` handled once, to be spread into those of any adapter. Its
 * answer is kept and given again to whoever comes with the key, with `Idempotency-Replayed: true`; 409 with `Retry-After`
 * while the first is at work; 422 for another body; 400 without a key that is required. They follow
 * draft-ietf-httpapi-idempotency-key-header. Without a key the handler runs without a lock: `lock.held` is false.
 *
 * @example
 * export const POST = lockFetch({ ...idempotent({ required: true }) }, charge);
 *
 * @throws LockOptionError
 */
// biome-ignore lint/suspicious/noExplicitAny: without a key of its own it takes the input of any handler
export function idempotent<Input extends unknown[] = [any, ...unknown[]]>(
  options: IdempotentOptions<Input> = {},
) {
  checkNames(options, optionNames);
  const { key, required = false, keepFor = "24h", wait = 0, keepIf } = options;
  const { headers = keptHeaders, maxBytes, onError } = options;
  const own = readOwn({ keepFor, maxBytes, onError });
  checkOptional("key", key);
  checkOptional("keepIf", keepIf);
  if (typeof required !== "boolean") throw new LockOptionError("required", show(required), "true or false");
  if (!Array.isArray(headers) || !headers.every((name) => typeof name === "string"))
    throw new LockOptionError("headers", show(headers), "a list of names");
  const allowed = headers.map((name) => name.toLowerCase()).filter((name) => name !== "set-cookie");
  const settings: Settings = {
    required,
    own,
    keep: { keepIf: keepIf ?? ((status) => status < 500), allowed, maxBytes: own.maxBytes },
  };
  return {
    // The lock itself is taken by `take`. A batch processes those of one key in their order.
    key: async (...input: Input): Promise<string | { key: string }> => {
      const made = key ? await key(...input) : keyOf(input[0]);
      if (!made) return none;
      // A key that is made of the request alone is its sender's, whatever is wrong with it.
      return key && !(made.length > 1024) ? made : usable(made);
    },
    wait,
    ifBusy: (error: LockBusyError, ...input: unknown[]) =>
      // biome-ignore lint/suspicious/noExplicitAny: an answer is what the adapter's own handler gives
      ("answer" in error ? error.answer : refusal(409, error, input)) as any,
    take: ((locker, asked, input, key) => takeRequest(locker as Locker, asked, input, key, settings)) as Take,
  };
}

/** What stands for the key of a request that has none, or one that cannot be used. */
const none = { key: "without a key" };
const unfit = { key: "unfit" };

function usable(made: string): string | typeof unfit {
  try {
    return readKey(made);
  } catch {
    return unfit;
  }
}

interface Settings {
  required: boolean;
  own: OwnOptions;
  keep: Kept;
}

/**
 * There is an answer already: how it comes to the adapter.
 * @param refused why the request was refused, if it was. A batch has nobody to answer: its message comes again
 */
function answered(key: string, answer: unknown, refused?: LockError) {
  return Object.assign(new LockBusyError(key, {}), { answer, refused });
}

async function takeRequest(
  locker: Locker,
  asked: LockOptions,
  input: readonly unknown[],
  key: Targets,
  { required, own, keep: kept }: Settings,
) {
  // What is written to a stream of Lambda cannot be kept, and a refusal could not be answered.
  if (isStream(input[1]) && !answersResponse(input[0]))
    throw new LockOptionError("handler", "one that writes to a stream", "one that returns its answer");
  if (key === unfit || (key === none && required)) {
    const given = key === none ? "none" : "one that cannot be used";
    const error = new LockOptionError("Idempotency-Key", given, "1 to 1024 characters");
    throw answered("", refusal(400, error, input), error);
  }
  if (key === none) return { lock: unheldFlight(locker, none.key, asked) };
  const fingerprint = await bodyOf(input);
  let flight: Awaited<ReturnType<typeof takeFlight>>;
  try {
    flight = await takeFlight(locker, key as string, { ...own, fingerprint }, asked);
  } catch (error) {
    if (error instanceof ResultMismatchError) throw answered(error.key, refusal(422, error, input), error);
    throw error;
  }
  if ("result" in flight) throw answered(key as string, readReply(flight.result, input));
  const { lock, land } = flight;
  return {
    lock,
    async keep(result: unknown, success: boolean, progress: () => void) {
      const { answer, text, error } = await keep(result, success, { ...kept, progress, signal: lock.signal });
      if (error) tell(own.onError, error);
      // The adapter ends the lock by a release: that of a kept answer is its landing.
      if (text !== undefined) landAtRelease(lock, () => land(text), own);
      return { result: answer, whole: text !== undefined };
    },
  };
}

function landAtRelease(lock: Lock, land: () => Promise<boolean>, { onError }: OwnOptions): void {
  const { release } = lock;
  let landing: Promise<boolean> | undefined;
  async function landOrLetGo(): Promise<boolean> {
    try {
      return await land();
    } catch (error) {
      // It cannot be kept. Its caller gets it all the same: the work was done.
      tell(onError, error as Error);
      return release({ failed: true });
    }
  }
  lock.release = (options) => {
    if (options?.failed) return release(options);
    landing ??= landOrLetGo();
    return landing;
  };
}
