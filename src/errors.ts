/** What went wrong, for code that branches on it. */
export type LockErrorCode = "LOCK_BUSY" | "LOCK_LOST" | "LOCK_UNAVAILABLE" | "LOCK_OPTION";

/**
 * What all errors of this package have in common. `statusCode`, `expose` and `headers` are what
 * `@middy/http-error-handler` turns into a response. A message never holds a token, and no owner either,
 * since `expose` lets it out to the caller.
 */
export class LockError extends Error {
  readonly code: LockErrorCode;
  /** The key as the caller gave it, without the prefix. */
  readonly key: string;
  readonly statusCode: number;
  readonly expose = true;
  readonly headers: Record<string, string> = {};

  constructor(code: LockErrorCode, statusCode: number, key: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.statusCode = statusCode;
    this.key = key;
  }

  // LockOptionError is a TypeError and a LockError at once, which a single chain of prototypes cannot say.
  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class on the right of `instanceof`
    if (this === LockError && value instanceof LockOptionError) return true;
    // biome-ignore lint/complexity/noThisInStatic: as above
    return Function.prototype[Symbol.hasInstance].call(this, value);
  }
}

/** Another holder has the lock: 423, with `Retry-After` where the holder's lease is known. */
export class LockBusyError extends LockError {
  /** What the holder calls itself, if it said so. */
  readonly owner: string | undefined;
  /** Milliseconds after which the holder's lease ends unless it is renewed. */
  readonly retryAfter: number | undefined;
  /** Milliseconds spent waiting for the lock. */
  readonly waited: number;

  constructor(
    key: string,
    { owner, retryAfter, waited = 0 }: Partial<Pick<LockBusyError, "owner" | "retryAfter" | "waited">>,
  ) {
    const after = waited > 0 ? ` after a wait of ${Math.round(waited)} ms` : "";
    super("LOCK_BUSY", 423, key, `The lock "${key}" is held by another${after}`);
    this.name = "LockBusyError";
    this.owner = owner;
    this.retryAfter = retryAfter;
    this.waited = waited;
    if (retryAfter) this.headers["Retry-After"] = `${Math.ceil(retryAfter / 1000)}`;
  }
}

/** The lease ended while the work ran: another may hold the lock by now. Also the reason `lock.signal` aborts with. */
export class LockLostError extends LockError {
  constructor(key: string, why: string) {
    super("LOCK_LOST", 500, key, `The lock "${key}" was lost: ${why}`);
    this.name = "LockLostError";
  }
}

/** Redis could not be asked, or answered with something that is no answer: nothing is known about the lock. */
export class LockUnavailableError extends LockError {
  constructor(key: string, cause: unknown) {
    super("LOCK_UNAVAILABLE", 503, key, `Redis could not be asked about the lock "${key}"`, { cause });
    this.name = "LockUnavailableError";
  }
}

/** An option is wrong. Says which, what was given and what fits; thrown before any request is sent. */
export class LockOptionError extends TypeError {
  readonly code = "LOCK_OPTION";
  readonly option: string;

  constructor(option: string, given: string, fits: string, options?: ErrorOptions) {
    super(`${option}: got ${given}, expected ${fits}`, options);
    this.name = "LockOptionError";
    this.option = option;
  }
}

/** How a given value is named in an error: short, quoted, and never an object's content. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") return "a function";
  return typeof value === "object" && value ? "an object" : String(value);
}
