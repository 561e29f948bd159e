import { LockLostError, LockOptionError, LockUnavailableError } from "./errors.ts";
import { emit, readOptions, type Settings } from "./options.ts";
import type { Claim } from "./protocol/claim.ts";
import { extend } from "./protocol/extend.ts";
import { keep, release } from "./protocol/release.ts";
import type { Connection } from "./redis/connection.ts";
import { type Duration, elapsed, type Moment, validity } from "./time.ts";

/** One lock, as its holder sees it. */
export interface Lock {
  /** The key as it was given, without the prefix. */
  readonly key: string;
  /** What tells this holder from all others. Secret: whoever has it can release the lock. */
  readonly token: string;
  /** The fencing token, when `fencing` is on: greater than that of every holder before. */
  readonly fence?: number;
  readonly owner?: string;
  /** Whether this process can be sure to hold the lock right now. */
  readonly held: boolean;
  /** Milliseconds this process can still be sure of. */
  readonly remaining: number;
  /**
   * Aborted with a `LockLostError` the moment this process can no longer be sure, and with the reason of the
   * `signal` option when that aborts. Its `aborted` reads the clock: a process that was frozen past its lease
   * sees it at once, before any timer had a chance to run.
   */
  readonly signal: AbortSignal;
  /**
   * Starts the lease anew, `ttl` long from now (default: as long as before). False when the lock was lost.
   * @throws LockUnavailableError when Redis could not be asked; the lock is held on while `remaining` lasts
   */
  extend(ttl?: Duration): Promise<boolean>;
  /**
   * Gives the lock up. True when it was still ours, false when it had been lost; never deletes another's.
   * Asked again, it gives the same answer.
   * @throws LockUnavailableError when Redis could not be asked; the lock ends with its lease, or may be released again
   */
  release(): Promise<boolean>;
  /** What `locker.resume` takes, in this process or another. Holds the token. */
  toJSON(): LockHandle;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A lock on its way to another process: `JSON.stringify(lock)`, parsed or not. */
export interface LockHandle {
  key: string;
  prefix: string;
  token: string;
  value: string;
  ttl: number;
  owner?: string;
  fence?: number;
}

/** What a lock is made of beside its claim. */
export interface LockContext {
  connection: Connection;
  settings: Settings;
  /** The key without its prefix. */
  name: string;
  /** Milliseconds the function around the lock may still run; no lease is renewed past it. */
  lifetime?: (() => number) | undefined;
}

/** `resumed` and `unheld` locks are not known to be held: one may become so by `extend`, the other never. */
type State = "held" | "released" | "lost" | "resumed" | "unheld";

export class HeldLock implements Lock {
  readonly key: string;
  readonly token: string;
  declare readonly fence?: number;
  declare readonly owner?: string;
  readonly #context: LockContext;
  readonly #claim: Claim;
  readonly #abort = new AbortController();
  readonly #stopListening: () => void;
  readonly #acquired: Moment;
  #state: State;
  /** The lease as it is believed in, and the length it is renewed to. */
  #lease: { since: Moment; ttl: number };
  #ttl: number;
  /** The shortest lease that a request of unknown fate may still set. */
  #shortest = Number.POSITIVE_INFINITY;
  #renewable: boolean | undefined;
  #expiry: unknown;
  #renewal: unknown;
  #extending: Promise<unknown> = Promise.resolve();
  #releasing: Promise<boolean> | undefined;
  /** Whether the lock was ours when its release began. */
  #heldAtRelease: boolean | undefined;

  /** Why the lock was lost, if it was. */
  lost: LockLostError | undefined;

  constructor(
    context: LockContext,
    claim: Claim,
    state: "held" | "resumed" | "unheld",
    details: { since?: Moment; fence?: number | undefined } = {},
  ) {
    this.#context = context;
    this.#claim = claim;
    this.#state = state;
    this.key = context.name;
    this.token = claim.token;
    if (claim.owner !== undefined) this.owner = claim.owner;
    if (details.fence !== undefined) this.fence = details.fence;
    this.#acquired = details.since ?? context.connection.runtime.now();
    this.#ttl = claim.ttl;
    this.#renewable = context.settings.renew;
    this.#lease = { since: this.#acquired, ttl: claim.ttl };

    const outer = context.settings.signal;
    const onOuterAbort = () => this.#abort.abort(outer?.reason);
    outer?.addEventListener("abort", onOuterAbort);
    this.#stopListening = () => outer?.removeEventListener("abort", onOuterAbort);
    if (outer?.aborted) onOuterAbort();
    this.#watchAborted();
    this.#schedule();
  }

  get held(): boolean {
    return this.remaining > 0;
  }

  get remaining(): number {
    if (this.#state !== "held") return 0;
    const { since, ttl } = this.#lease;
    const left = validity(ttl) - elapsed(since, this.#context.connection.runtime.now());
    if (left > 0) return left;
    this.#lose("its lease ended before it was renewed");
    return 0;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  async extend(ttl?: Duration): Promise<boolean> {
    this.#ttl = readOptions(this.#context.settings, { ttl: ttl ?? this.#ttl }).ttl;
    return this.#extendTo(this.#ttl);
  }

  release(): Promise<boolean> {
    return this.end(true);
  }

  /** Ends the lock; only after a success is it kept for `holdFor`. */
  end(success: boolean): Promise<boolean> {
    this.#releasing ??= this.#release(success).catch((error) => {
      this.#releasing = undefined;
      throw unavailable(this.#context, this.#claim, error);
    });
    return this.#releasing;
  }

  /** Lets the lease run out, while whoever still works under it keeps its `signal`. */
  stopRenewing(): void {
    this.#renewable = false;
    this.#schedule();
  }

  toJSON(): LockHandle {
    const { value, ttl } = this.#claim;
    const { key, token, owner, fence } = this;
    const { prefix } = this.#context.settings;
    return {
      key,
      prefix,
      token,
      value,
      ttl,
      ...(owner !== undefined && { owner }),
      ...(fence !== undefined && { fence }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  async #release(success: boolean): Promise<boolean> {
    const { connection, settings } = this.#context;
    if (this.#state === "unheld") return false;
    const again = this.#heldAtRelease !== undefined;
    this.#heldAtRelease ??= this.held || this.#state === "resumed";
    this.#stop();
    if (!this.#heldAtRelease) {
      // The server may keep the lock a little longer than we relied on it.
      await release(this.#claim).catch(() => {});
      return false;
    }
    this.#state = "released";
    const rest = success
      ? Math.ceil(settings.holdFor - elapsed(this.#acquired, connection.runtime.now()))
      : 0;
    const released = await (rest > 0 ? keep(this.#claim, rest) : release(this.#claim));
    clearStragglers(this.#claim);
    // Where an earlier request of ours, its reply lost, may have released it, it was ours: while our lease was
    // running nobody else could have.
    const stillHeld = released ?? true;
    if (!stillHeld && !again) this.#lose("it was gone when it was released");
    emit(settings, { type: "released", key: this.key, stillHeld: stillHeld || again });
    return stillHeld || again;
  }

  /** One extension at a time: of two on the way it would be unknown which one the server heard last. */
  #extendTo(ttl: number): Promise<boolean> {
    const extended = this.#extending.then(() => this.#extend(ttl));
    this.#extending = extended.catch(() => {});
    return extended;
  }

  async #extend(ttl: number): Promise<boolean> {
    const { connection, settings } = this.#context;
    if (!this.held && this.#state !== "resumed") return false;
    // From here on the lease may be the new one, and if that is shorter the old one must not be relied on.
    if (validity(ttl) < this.remaining) this.#setLease(connection.runtime.now(), ttl);
    let fate = { since: undefined as Moment | undefined, repeated: true };
    try {
      fate = await extend(this.#claim, ttl);
    } catch (error) {
      throw unavailable(this.#context, this.#claim, error);
    } finally {
      // A request whose reply was lost may yet arrive, and set its lease over a longer one.
      if (fate.repeated) this.#shortest = Math.min(this.#shortest, ttl);
    }
    if (this.#state !== "held" && this.#state !== "resumed") return false;
    if (fate.since === undefined) {
      this.#lose("another has it, or it was deleted");
      return false;
    }
    this.#state = "held";
    this.#setLease(fate.since, Math.min(ttl, this.#shortest));
    if (!this.held) return false;
    emit(settings, { type: "renewed", key: this.key, remaining: this.remaining });
    return true;
  }

  #setLease(since: Moment, ttl: number): void {
    this.#lease = { since, ttl };
    this.#schedule();
  }

  /** Sets the timer that ends the lease here, and the one that renews it a third of the way. */
  #schedule(): void {
    this.#clearTimers();
    if (!this.held) return;
    this.#watchExpiry();
    const covered = (this.#context.lifetime?.() ?? Number.POSITIVE_INFINITY) <= this.remaining;
    if (this.#renewable && !covered) this.#renewIn(this.#lease.ttl / 3);
  }

  #watchExpiry(): void {
    const { runtime } = this.#context.connection;
    this.#expiry = runtime.setTimeout(
      () => this.held && this.#watchExpiry(),
      Math.ceil(this.remaining),
      true,
    );
  }

  #renewIn(ms: number): void {
    const renew = async () => {
      const lifetime = this.#context.lifetime?.() ?? Number.POSITIVE_INFINITY;
      // A timer that fires late, in a thawed sandbox, finds the lease over and does nothing.
      if (!this.held || !this.#renewable || lifetime <= 0) return;
      const renewed = this.#extendTo(Math.min(this.#ttl, leaseFor(lifetime)));
      // Failing, it is tried again until the lease ends.
      await renewed.catch(() => this.held && this.#renewIn(this.#ttl / 10));
    };
    this.#renewal = this.#context.connection.runtime.setTimeout(renew, ms, true);
  }

  #lose(why: string): void {
    if (this.#state === "lost") return;
    this.#stop();
    this.#state = "lost";
    this.lost = new LockLostError(this.key, why);
    this.#abort.abort(this.lost);
    emit(this.#context.settings, { type: "lost", key: this.key, error: this.lost });
  }

  #stop(): void {
    this.#clearTimers();
    this.#stopListening();
  }

  #clearTimers(): void {
    const { runtime } = this.#context.connection;
    runtime.clearTimeout(this.#expiry);
    runtime.clearTimeout(this.#renewal);
  }

  /** Lets `signal.aborted` read the clock: the timer may be late, and what awaited something runs before it. */
  #watchAborted(): void {
    const { signal } = this.#abort;
    const aborted = () => {
      this.remaining;
      return Reflect.get(AbortSignal.prototype, "aborted", signal) as boolean;
    };
    Object.defineProperties(signal, {
      aborted: { get: aborted },
      throwIfAborted: {
        value: () => {
          if (aborted()) throw signal.reason;
        },
      },
    });
  }
}

/** The shortest lease whose validity covers `ms`. */
export function leaseFor(ms: number): number {
  return Math.ceil((ms + 2) / 0.99);
}

/** Requests to take the lock that were given up may still be executed: each is followed by a release. */
export function clearStragglers(claim: Claim): void {
  for (const straggler of claim.stragglers.splice(0)) straggler.then(() => release(claim)).catch(() => {});
}

/** The error for a lock about which nothing is known. Its cause names no token, whatever the server quoted. */
export function unavailable(context: LockContext, claim: Claim, cause: unknown): LockUnavailableError {
  const message = String((cause as Error | undefined)?.message);
  const clean = message.includes(claim.token) ? new Error(message.replaceAll(claim.token, "[token]")) : cause;
  const error = new LockUnavailableError(context.name, clean);
  emit(context.settings, { type: "unavailable", key: context.name, error });
  return error;
}

/** Checks a handle; nothing of it is shown, since it holds a token. */
export function readHandle(handle: unknown): LockHandle {
  let parsed: unknown = handle;
  try {
    if (typeof handle === "string") parsed = JSON.parse(handle);
  } catch {}
  const { key, prefix, token, value, ttl } = (parsed ?? {}) as Partial<LockHandle>;
  const texts = [key, prefix, token, value].every((text) => typeof text === "string");
  if (texts && Number.isInteger(ttl) && value?.includes(token as string)) return parsed as LockHandle;
  throw new LockOptionError("handle", "something else", "what JSON.stringify(lock) gave, as text or parsed");
}
