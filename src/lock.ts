import { LockLostError, LockOptionError, LockUnavailableError } from "./errors.ts";
import { emit, readOptions } from "./options.ts";
import type { Claim } from "./protocol/claim.ts";
import { extend, keep } from "./protocol/extend.ts";
import { release as releaseClaim } from "./protocol/release.ts";
import { type Duration, forever, type Since, validity, whenAborted } from "./time.ts";

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

const gone = "another has it, or it was deleted";

/** `resumed` and `unheld` locks are not known to be held: one may become so by `extend`, the other never. */
type State = "held" | "released" | "lost" | "resumed" | "unheld";

/** @param taken the fencing token, and the lease where it is a grant's */
export function holdLock(
  claim: Claim,
  state: State,
  { fence, lease: granted }: { fence?: number | undefined; lease?: number } = {},
): HeldLock {
  const { settings, name: key, token, lifetime = () => forever } = claim;
  const { runtime } = claim.connection;
  const { prefix, ttl, owner, signal: outer } = settings;
  const facts = { key, token, owner, fence };
  const abort = new AbortController();
  const { signal } = abort;
  const sinceAcquired = claim.since;
  /** The lease as it is believed in. */
  let lease = granted ?? ttl;
  let since = sinceAcquired;
  /** The lease it is renewed to. */
  let wanted = ttl;
  /** The shortest lease that a request of unknown fate may still set. */
  let shortest = forever;
  let renewable = settings.renew;
  let lost: LockLostError | undefined;
  let cancelTimer = () => {};
  let extending: Promise<unknown> = Promise.resolve();
  let releasing: Promise<boolean> | undefined;

  function remaining(): number {
    if (state !== "held") return 0;
    const left = validity(lease) - since();
    if (left > 0) return left;
    lose("its lease ended");
    return 0;
  }

  function lose(why: string): void {
    if (lost) return;
    state = "lost";
    stop();
    lost = new LockLostError(key, why);
    abort.abort(lost);
    emit(claim, { type: "lost", error: lost });
  }

  function stop(): void {
    schedule();
    forgetOuter();
  }

  /** Sets the timer that renews the lease in a while, or ends it here; none where the lock is not held. */
  function schedule(pause = renewable ? remaining() / 3 : forever): void {
    cancelTimer();
    const left = remaining();
    if (left) cancelTimer = runtime.later(renew, Math.ceil(Math.min(pause, left)), true);
  }

  function renew(): void {
    const left = lifetime();
    schedule(forever);
    // What is left of the lease may do for what is left of the function.
    if (!renewable || remaining() >= left) return;
    // A timer that fires late, in a thawed sandbox, finds the lease over, and then nothing is sent.
    // Where that fails, it is tried again until the lease ends.
    extendTo(Math.min(wanted, leaseFor(left))).catch(() => schedule(wanted / 10));
  }

  function setLease(ttl: number, from: Since): void {
    lease = ttl;
    since = from;
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
    if (validity(ttl) < remaining()) setLease(ttl, runtime.sinceNow());
    // A request whose reply was lost may yet arrive, and set its lease over a longer one.
    const settled = shortest;
    shortest = Math.min(shortest, ttl);
    const answer = await extend(claim, ttl).catch((error) => {
      throw unavailable(claim, error);
    });
    if (state !== "held" && state !== "resumed") return false;
    if (!answer) {
      lose(gone);
      return false;
    }
    if (!answer.repeated) shortest = settled;
    state = "held";
    setLease(Math.min(ttl, shortest), answer.sinceSent);
    const left = remaining();
    if (left) emit(claim, { type: "renewed", remaining: left });
    return left > 0;
  }

  async function release(success: boolean): Promise<boolean> {
    // Released before, with no answer: then that may have been what ended it, and the lock was ours.
    const again = state === "released";
    const ours = again || state === "resumed" || remaining() > 0;
    if (ours) state = "released";
    stop();
    if (state === "unheld") return false;
    if (!ours) {
      // The server may keep the lock a little longer than we relied on it.
      await releaseClaim(claim).catch(() => {});
      return false;
    }
    const rest = success ? Math.ceil(settings.holdFor - sinceAcquired()) : 0;
    const released = await (rest > 0 ? keep(claim, rest) : releaseClaim(claim));
    clearStragglers(claim);
    const stillHeld = again || released;
    if (!stillHeld) lose(gone);
    emit(claim, { type: "released", stillHeld });
    return stillHeld;
  }

  // `signal.aborted` reads the clock: the timer may be late, and what awaited something runs before it.
  // Once it has a reason, it is aborted.
  Object.defineProperty(signal, "aborted", {
    get() {
      remaining();
      return signal.reason !== undefined;
    },
  });
  signal.throwIfAborted = () => {
    if (signal.aborted) throw signal.reason;
  };

  const forgetOuter = whenAborted(outer, () => abort.abort(outer?.reason));
  schedule();

  const end = (success: boolean) => {
    releasing ??= release(success).catch((error) => {
      releasing = undefined;
      throw unavailable(claim, error);
    });
    return releasing;
  };

  return {
    ...facts,
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
    toJSON: () => ({ ...facts, prefix, ttl }),
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
  for (const straggler of claim.asker.stragglers.splice(0))
    claim.background(straggler.then(() => releaseClaim(claim, false, true)));
}

/** The error for a lock about which nothing is known. Its cause names no token, whatever the server quoted. */
export function unavailable(claim: Claim, cause: unknown): LockUnavailableError {
  const { name, token } = claim;
  const message = `${(cause as Error | undefined)?.message}`;
  const clean = message.includes(token) ? new Error(message.replaceAll(token, "[token]")) : cause;
  const error = new LockUnavailableError(name, clean);
  emit(claim, { type: "unavailable", error });
  return error;
}

/** Checks a handle; nothing of it is shown, since it holds a token. */
export function readHandle(handle: unknown): LockHandle {
  try {
    const read = typeof handle === "string" ? JSON.parse(handle) : handle;
    const texts = [read.key, read.prefix, read.token];
    if (texts.every((text) => typeof text === "string") && Number.isInteger(read.ttl)) return read;
  } catch {}
  throw new LockOptionError("handle", typeof handle, "what lock.toJSON() gave, or its JSON");
}
