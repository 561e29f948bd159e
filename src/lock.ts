import { LockLostError, LockOptionError, LockUnavailableError } from "./errors.ts";
import { emit, readOptions } from "./options.ts";
import type { Claim } from "./protocol/claim.ts";
import { type Extended, extend } from "./protocol/extend.ts";
import { keep, release as releaseClaim } from "./protocol/release.ts";
import { type Duration, elapsed, forever, type Moment, validity } from "./time.ts";

/** One lock, as its holder sees it. */
export interface Lock {
  /** The key as it was given, without the prefix. */
  readonly key: string;
  /** What tells this holder from all others. Secret: whoever has it can release the lock. */
  readonly token: string;
  /** The fencing token, when `fencing` is on: greater than that of every holder before. */
  readonly fence: number | undefined;
  readonly owner: string | undefined;
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
  ttl: number;
  owner: string | undefined;
  fence: number | undefined;
}

/** A lock as this package sees it. */
export interface HeldLock extends Lock {
  /** Why the lock was lost, if it was. */
  readonly lost: LockLostError | undefined;
  /** Ends the lock; only after a success is it kept for `holdFor`. */
  end(success: boolean): Promise<boolean>;
  /** Lets the lease run out, while whoever still works under it keeps its `signal`. */
  stopRenewing(): void;
}

/** `resumed` and `unheld` locks are not known to be held: one may become so by `extend`, the other never. */
type State = "held" | "released" | "lost" | "resumed" | "unheld";

/** @param taken when the lease began, and the fencing token */
export function holdLock(
  claim: Claim,
  state: State,
  taken: { since?: Moment; fence?: number | undefined } = {},
): HeldLock {
  const { settings, name: key, token, lifetime = () => forever } = claim;
  const { runtime } = claim.connection;
  const outer = settings.signal;
  const abort = new AbortController();
  const { signal } = abort;
  const acquired = taken.since ?? runtime.now();
  /** The lease as it is believed in. */
  let lease = { since: acquired, ttl: settings.ttl };
  /** The lease it is renewed to. */
  let wanted = settings.ttl;
  /** The shortest lease that a request of unknown fate may still set. */
  let shortest = forever;
  let renewable = settings.renew;
  let lost: LockLostError | undefined;
  let expiry: unknown;
  let renewal: unknown;
  let extending: Promise<unknown> = Promise.resolve();
  let releasing: Promise<boolean> | undefined;
  /** Whether the lock was ours when its release began. */
  let heldAtRelease: boolean | undefined;

  function remaining(): number {
    if (state !== "held") return 0;
    const left = validity(lease.ttl) - elapsed(lease.since, runtime.now());
    if (left > 0) return left;
    lose("its lease ended before it was renewed");
    return 0;
  }

  function lose(why: string): void {
    if (lost) return;
    stop();
    state = "lost";
    lost = new LockLostError(key, why);
    abort.abort(lost);
    emit(settings, { type: "lost", key, error: lost });
  }

  function stop(): void {
    clearTimers();
    outer?.removeEventListener("abort", onOuterAbort);
  }

  function clearTimers(): void {
    runtime.clearTimeout(expiry);
    runtime.clearTimeout(renewal);
  }

  function onOuterAbort(): void {
    abort.abort(outer?.reason);
  }

  /** Sets the timer that ends the lease here, and the one that renews it a third of the way. */
  function schedule(): void {
    clearTimers();
    const left = remaining();
    if (left === 0) return;
    watchExpiry();
    if (renewable && lifetime() > left) renewIn(lease.ttl / 3);
  }

  function watchExpiry(): void {
    expiry = runtime.setTimeout(() => remaining() && watchExpiry(), Math.ceil(remaining()), true);
  }

  function renewIn(ms: number): void {
    const renew = async () => {
      const left = lifetime();
      // A timer that fires late, in a thawed sandbox, finds the lease over and does nothing.
      if (!remaining() || !renewable || left <= 0) return;
      // Failing, it is tried again until the lease ends.
      await extendTo(Math.min(wanted, leaseFor(left))).catch(() => remaining() && renewIn(wanted / 10));
    };
    renewal = runtime.setTimeout(renew, ms, true);
  }

  function setLease(since: Moment, ttl: number): void {
    lease = { since, ttl };
    schedule();
  }

  /** One extension at a time: of two on the way it would be unknown which one the server heard last. */
  function extendTo(ttl: number): Promise<boolean> {
    const extended = extending.then(() => extendNow(ttl));
    extending = extended.catch(() => {});
    return extended;
  }

  async function extendNow(ttl: number): Promise<boolean> {
    if (!remaining() && state !== "resumed") return false;
    // From here on the lease may be the new one, and if that is shorter the old one must not be relied on.
    if (validity(ttl) < remaining()) setLease(runtime.now(), ttl);
    let fate: Extended = { since: undefined, repeated: true };
    try {
      fate = await extend(claim, ttl);
    } catch (error) {
      throw unavailable(claim, error);
    } finally {
      // A request whose reply was lost may yet arrive, and set its lease over a longer one.
      if (fate.repeated) shortest = Math.min(shortest, ttl);
    }
    if (state !== "held" && state !== "resumed") return false;
    if (!fate.since) {
      lose("another has it, or it was deleted");
      return false;
    }
    state = "held";
    setLease(fate.since, Math.min(ttl, shortest));
    const left = remaining();
    if (left) emit(settings, { type: "renewed", key, remaining: left });
    return left > 0;
  }

  async function release(success: boolean): Promise<boolean> {
    if (state === "unheld") return false;
    const again = heldAtRelease !== undefined;
    heldAtRelease ??= remaining() > 0 || state === "resumed";
    stop();
    if (!heldAtRelease) {
      // The server may keep the lock a little longer than we relied on it.
      await releaseClaim(claim).catch(() => {});
      return false;
    }
    state = "released";
    const rest = success ? Math.ceil(settings.holdFor - elapsed(acquired, runtime.now())) : 0;
    const released = await (rest > 0 ? keep(claim, rest) : releaseClaim(claim));
    clearStragglers(claim);
    // Where an earlier request of ours, its reply lost, may have released it, it was ours: while our lease was
    // running nobody else could have.
    const stillHeld = released ?? true;
    if (!stillHeld && !again) lose("it was gone when it was released");
    emit(settings, { type: "released", key, stillHeld: stillHeld || again });
    return stillHeld || again;
  }

  // `signal.aborted` reads the clock: the timer may be late, and what awaited something runs before it.
  const aborted = () => {
    remaining();
    return Reflect.get(AbortSignal.prototype, "aborted", signal) as boolean;
  };
  const throwIfAborted = () => {
    if (aborted()) throw signal.reason;
  };
  Object.defineProperties(signal, { aborted: { get: aborted }, throwIfAborted: { value: throwIfAborted } });

  outer?.addEventListener("abort", onOuterAbort);
  if (outer?.aborted) onOuterAbort();
  schedule();

  const end = (success: boolean) => {
    releasing ??= release(success).catch((error) => {
      releasing = undefined;
      throw unavailable(claim, error);
    });
    return releasing;
  };

  return {
    key,
    token,
    owner: settings.owner,
    fence: taken.fence,
    signal,
    get held() {
      return remaining() > 0;
    },
    get remaining() {
      return remaining();
    },
    get lost() {
      return lost;
    },
    async extend(ttl) {
      wanted = readOptions(settings, { ttl: ttl ?? wanted }).ttl;
      return extendTo(wanted);
    },
    end,
    release: () => end(true),
    stopRenewing() {
      renewable = false;
      schedule();
    },
    toJSON: () => ({
      key,
      prefix: settings.prefix,
      token,
      ttl: settings.ttl,
      owner: settings.owner,
      fence: taken.fence,
    }),
    async [Symbol.asyncDispose]() {
      await end(true);
    },
  };
}

/** The shortest lease whose validity covers `ms`. */
export function leaseFor(ms: number): number {
  return Math.ceil((ms + 2) / 0.99);
}

/** Requests to take the lock that were given up may still be executed: each is followed by a release. */
export function clearStragglers(claim: Claim): void {
  for (const straggler of claim.stragglers.splice(0))
    straggler.then(() => releaseClaim(claim)).catch(() => {});
}

/** The error for a lock about which nothing is known. Its cause names no token, whatever the server quoted. */
export function unavailable({ settings, name, token }: Claim, cause: unknown): LockUnavailableError {
  const message = String((cause as Error | undefined)?.message);
  const clean = message.includes(token) ? new Error(message.replaceAll(token, "[token]")) : cause;
  const error = new LockUnavailableError(name, clean);
  emit(settings, { type: "unavailable", key: name, error });
  return error;
}

/** Checks a handle; nothing of it is shown, since it holds a token. */
export function readHandle(handle: unknown): LockHandle {
  let parsed = handle as Partial<LockHandle> | undefined;
  try {
    if (typeof handle === "string") parsed = JSON.parse(handle);
  } catch {}
  const texts = [parsed?.key, parsed?.prefix, parsed?.token].every((text) => typeof text === "string");
  if (texts && Number.isInteger(parsed?.ttl)) return parsed as LockHandle;
  throw new LockOptionError("handle", "something else", "what JSON.stringify(lock) gave, as text or parsed");
}
