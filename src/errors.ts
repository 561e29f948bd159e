/** What went wrong, for code that branches on it. */
export type LockErrorCode = "LOCK_BUSY" | "LOCK_LOST" | "LOCK_UNAVAILABLE" | "LOCK_OPTION";

/**
 * What all errors of this package have in common. `statusCode`, `expose` and `headers` are what
 * `@middy/http-error-handler` turns into a response. A message never holds a token, and no owner either,
 * since `expose` lets it out to the caller.
 */
export abstract class LockError extends Error {
  abstract readonly code: LockErrorCode;
  abstract readonly statusCode: number;
  /** The key as the caller gave it, without the prefix. */
  readonly key: string;
  readonly expose = true;
  readonly headers: Record<string, string> = {};

  constructor(key: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.key = key;
  }

  // LockOptionError is a TypeError and a LockError at once, which a single chain of prototypes cannot say.
  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class on the right of `instanceof`
    return super[Symbol.hasInstance](value) || (this === LockError && value instanceof LockOptionError);
  }
}

/** Another holder has the lock: 423, with `Retry-After` where the holder's lease is known. */
export class LockBusyError extends LockError {
  override name = "LockBusyError";
  readonly code = "LOCK_BUSY";
  readonly statusCode = 423;
  /** What the holder calls itself, if it said so. */
  declare readonly owner: string | undefined;
  /** Milliseconds after which the holder's lease ends unless it is renewed. */
  declare readonly retryAfter: number | undefined;
  /** Milliseconds spent waiting for the lock. */
  declare readonly waited: number;
  /** How many waited before us in the end, if we stood in the queue. */
  declare readonly place: number | undefined;

  constructor(
    key: string,
    details: Partial<Pick<LockBusyError, "owner" | "retryAfter" | "waited" | "place">>,
  ) {
    super(key, `The lock "${key}" is held by another`);
    Object.assign(this, { waited: 0, ...details });
    if (details.retryAfter) this.headers["Retry-After"] = `${Math.ceil(details.retryAfter / 1000)}`;
  }
}

/** The lease ended while the work ran: another may hold the lock by now. Also the reason `lock.signal` aborts with. */
export class LockLostError extends LockError {
  override name = "LockLostError";
  readonly code = "LOCK_LOST";
  readonly statusCode = 500;

  constructor(key: string, why: string) {
    super(key, `The lock "${key}" was lost: ${why}`);
  }
}

/** Redis could not be asked, or answered with something that is no answer: nothing is known about the lock. */
export class LockUnavailableError extends LockError {
  override name = "LockUnavailableError";
  readonly code = "LOCK_UNAVAILABLE";
  readonly statusCode = 503;

  constructor(key: string, cause: unknown) {
    super(key, `Redis could not be asked about the lock "${key}"`, { cause });
  }
}

/** An option is wrong. Says which, what was given and what fits; thrown before any request is sent. */
export class LockOptionError extends TypeError {
  override name = "LockOptionError";
  readonly code = "LOCK_OPTION";
  readonly option: string;

  constructor(option: string, given: string, fits: string, options?: ErrorOptions) {
    super(`${option}: got ${given}, expected ${fits}`, options);
    this.option = option;
  }
}

/** How a given value is named in an error: short, quoted, and never an object's content. */
export function show(value: unknown, most = 60): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > most ? `${value.slice(0, most)}…` : value);
  return Object(value) === value ? `some ${typeof value}` : String(value);
}
