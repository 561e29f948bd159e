// biome-ignore-all lint/complexity/noThisInStatic: `this` is the class on the right of `instanceof`
/** What went wrong, for code that branches on it. */
export type LockErrorCode =
  | "LOCK_BUSY"
  | "LOCK_LOST"
  | "LOCK_UNAVAILABLE"
  | "LOCK_OPTION"
  | "LOCK_RESULT_MISMATCH";

/** Marks every error of this package, with its code. Two copies of the package know each other's errors by it. */
const brand = Symbol.for("serverless-lock.error");

/**
 * What all errors of this package have in common. `statusCode`, `expose` and `headers` are what
 * `@middy/http-error-handler` turns into a response. No message holds a token. One with `expose` goes to
 * the caller, so it holds no owner and no key either; the key is at `key`.
 */
export abstract class LockError extends Error {
  /** The code of a class. Its errors are told by it, `instanceof` included, whichever copy of the package made them. */
  protected static readonly code: LockErrorCode | undefined = undefined;

  abstract readonly code: LockErrorCode;
  abstract readonly statusCode: number;
  /** The key as the caller gave it, without the prefix. Undefined for an option error. */
  readonly key: string | undefined;
  readonly expose: boolean = true;
  readonly headers: Record<string, string> = {};

  constructor(key: string | undefined, message: string, options?: ErrorOptions) {
    super(message, options);
    this.key = key;
  }

  get [brand](): LockErrorCode {
    return this.code;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (super[Symbol.hasInstance](value)) return true;
    // A user's own subclass is known by its prototype alone.
    const mark = Object.hasOwn(this, "code") && (Object(value) as { [brand]?: unknown })[brand];
    return typeof mark === "string" && (this.code === undefined || this.code === mark);
  }
}

/** Another holder has the lock: 423, with `Retry-After` if the holder's lease is known. */
export class LockBusyError extends LockError {
  protected static override readonly code = "LOCK_BUSY";
  override name = "LockBusyError";
  readonly code = "LOCK_BUSY";
  readonly statusCode = 423;
  declare readonly key: string;
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
    super(key, "The lock is held by another");
    Object.assign(this, { waited: 0, ...details });
    if (details.retryAfter) this.headers["Retry-After"] = `${Math.ceil(details.retryAfter / 1000)}`;
  }
}

/** The lease ended while the work ran: another may hold the lock by now. Also the reason `lock.signal` aborts with. */
export class LockLostError extends LockError {
  protected static override readonly code = "LOCK_LOST";
  override name = "LockLostError";
  readonly code = "LOCK_LOST";
  readonly statusCode = 500;
  declare readonly key: string;

  constructor(key: string, why: string) {
    super(key, `The lock was lost: ${why}`);
  }
}

/**
 * Redis could not be asked, or answered with something that is no answer: nothing is known about the lock. Also if too few
 * replicas confirmed it: then the message says how many.
 */
export class LockUnavailableError extends LockError {
  protected static override readonly code = "LOCK_UNAVAILABLE";
  override name = "LockUnavailableError";
  readonly code = "LOCK_UNAVAILABLE";
  readonly statusCode = 503;
  declare readonly key: string;

  constructor(key: string, cause: unknown, message = "Redis could not be asked about the lock") {
    super(key, message, { cause });
  }
}

/** An option is wrong. Says which, what was given and what fits; thrown before any request is sent. */
export class LockOptionError extends LockError {
  protected static override readonly code = "LOCK_OPTION";
  override name = "LockOptionError";
  readonly code = "LOCK_OPTION";
  readonly statusCode = 500;
  override readonly expose = false;
  declare readonly key: undefined;
  readonly option: string;

  constructor(option: string, given: string, fits: string, options?: ErrorOptions) {
    super(undefined, `${printable(option)}: got ${given}, expected ${fits}`, options);
    this.option = option;
  }
}

/** How a given value is named in an error: short, quoted, and never an object's content. */
export function show(value: unknown, most = 60): string {
  if (Object(value) === value) return `some ${typeof value}`;
  if (typeof value !== "string") return printable(String(value).slice(0, 60));
  return printable(JSON.stringify(value.length > most ? `${value.slice(0, most)}…` : value));
}

/** A text without what breaks a line, steers a terminal or turns the text around: it could forge lines of a log. */
export function printable(text: string): string {
  return text.replace(/[^ -~\xa0-\u2027\u202f-\u2065\u206a-\uffff]/g, "\ufffd");
}
