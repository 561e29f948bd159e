import { LockLostError, LockOptionError, LockUnavailableError, printable, show } from "./errors.ts";
import { defaults, emit, readKey, readOptions, type Settings } from "./options.ts";
import type { Claim } from "./protocol/claim.ts";
import { extend, keep } from "./protocol/extend.ts";
import { release as releaseClaim } from "./protocol/release.ts";
import { RefusedError } from "./redis/client.ts";
import { type Duration, forever, leaseFor, type Since, validity, whenAborted } from "./time.ts";

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
   * Aborted with a `LockLostError` the moment this process can no longer be sure; with the reason of the `signal`
   * option when that aborts; and with an `AbortError` when the lock is released, before the release is sent. Its
   * `aborted` reads the clock: a process that was frozen past its lease sees it at once, before any timer had a
   * chance to run.
   */
  readonly signal: AbortSignal;
  /**
   * Starts the lease anew, `ttl` long from now (default: as long as before). False when the lock was lost.
   * @throws LockUnavailableError when Redis could not be asked; the lock is held on while `remaining` lasts
   */
  extend(ttl?: Duration): Promise<boolean>;
  /**
   * Gives the lock up. True when it was still ours, false when it had been lost; never deletes another's.
   * Asked again, it gives the same answer. `failed: true` lets it go at once in spite of `holdFor`.
   * @throws LockUnavailableError when Redis could not be asked; the lock ends with its lease, or may be released again
   */
  release(options?: { failed?: boolean | undefined }): Promise<boolean>;
  /** What `locker.resume` takes, in this process or another. Holds the token. */
  toJSON(): LockHandle;
  /**
   * What `await using` calls: as `release({ failed: true })`, since it is not told whether its block threw. It never
   * throws; a release that could not be asked for is an `unavailable` event.
   */
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
  /** Ms left of the window for which a success keeps the lock. @default 0 */
  holdFor?: number | undefined;
}

export const gone = "another has it, or it was deleted";
/** By it Node, Deno and Bun print a value. */
const inspected = Symbol.for("nodejs.util.inspect.custom");

/** `resumed` and `unheld` locks are not known to be held: one may become so by `extend`, the other never. */
type State = "held" | "released" | "lost" | "resumed" | "unheld";

/** What an acquire brought: the fencing token, and the lease if it is a grant's. */
interface Facts {
  fence?: number | undefined;
  lease?: number;
}

export function holdLock(claim: Claim, state: State, { fence, lease: granted }: Facts = {}): Lock {
  const { settings, name: key, token, lifetime } = claim;
  const { runtime } = claim.connection;
  const { prefix, ttl, owner, signal: outer, holdFor } = settings;
  const abort = new AbortController();
  const { signal } = abort;
  const sinceAcquired = claim.since;
  /** The lease as it is believed in. */
  let lease = state === "held" ? (granted ?? ttl) : 0;
  let since = sinceAcquired;
  /** The lease it is renewed to. */
  let wanted = ttl;
  /** The shortest lease that a request of unknown fate may still set. */
  let shortest = forever;
  /** For how long after acquire it is renewed. */
  let renewFor = settings.renew ?? 0;
  let cancelTimer = () => {};
  let forgetOuter = () => {};
  let extending: Promise<unknown> = Promise.resolve();
  let releasing: Promise<boolean> | undefined;
  /** Whether a release of unknown fate may have been executed. */
  let maybeReleased = false;

  const leaseLeft = () => validity(lease) - since();

  function remaining(): number {
    if (state !== "held") return 0;
    const left = leaseLeft();
    if (left > 0) return left;
    lose("its lease ended");
    return 0;
  }

  function lose(why: string): void {
    if (state === "lost") return;
    state = "lost";
    stop();
    const error = new LockLostError(key, why);
    abort.abort(error);
    emit(claim, { type: "lost", error });
  }

  function stop(): void {
    schedule();
    forgetOuter();
  }

  /** Sets the timer that renews the lease in a while, or ends it here; none if the lock is not held. */
  function schedule(pause = renewFor ? remaining() / 3 : forever): void {
    cancelTimer();
    const left = remaining();
    if (left) cancelTimer = runtime.later(renew, Math.ceil(Math.min(pause, left)), true);
  }

  function renew(): void {
    const left = Math.min(lifetime(), renewFor - sinceAcquired());
    schedule(forever);
    // What is left of the lease may do for what is left of the function.
    if (remaining() >= left) return;
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
    if (state === "resumed") heed();
    state = "held";
    setLease(Math.min(ttl, shortest), answer.sinceSent);
    const left = remaining();
    if (left) emit(claim, { type: "renewed", remaining: left });
    return left > 0;
  }

  async function release(success: boolean): Promise<boolean> {
    const ours = state === "released" || state === "resumed" || remaining() > 0;
    if (ours) state = "released";
    stop();
    // Whoever heeds it has stopped by the time another gets the lock.
    abort.abort(new DOMException("The lock was released", "AbortError"));
    if (state === "unheld") return false;
    if (!ours) {
      // The server may keep the lock a little longer than we relied on it.
      await releaseClaim(claim).catch(() => {});
      return false;
    }
    // While its lease lasts, only we can have ended it.
    const before = maybeReleased && leaseLeft() > 0;
    const released = await (success && holdFor > sinceAcquired() ? keepOn() : releaseClaim(claim)).catch(
      (error) => {
        maybeReleased ||= !(error instanceof RefusedError);
        throw error;
      },
    );
    clearStragglers(claim);
    const stillHeld = before || released;
    if (!stillHeld) lose(gone);
    emit(claim, { type: "released", stillHeld });
    return stillHeld;
  }

  /** Keeps the lock for the rest of `holdFor`. It is tried until the lease ends, lest the work is done again. */
  async function keepOn(): Promise<boolean> {
    for (;;) {
      try {
        return await keep(claim, Math.ceil(Math.max(1, holdFor - sinceAcquired())));
      } catch (error) {
        if (error instanceof RefusedError || leaseLeft() <= 0) throw error;
      }
    }
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

  function heed(): void {
    forgetOuter = whenAborted(outer, () => {
      abort.abort(outer?.reason);
      // The lease runs out: whoever still works under it heeds its signal.
      renewFor = 0;
      schedule();
    });
  }

  schedule();
  // A handle may be dropped: until it is known to be held, it leaves no listener behind.
  if (state !== "resumed" || outer?.aborted) heed();

  const end = (success: boolean) => {
    releasing ??= release(success).catch((error) => {
      releasing = undefined;
      throw unavailable(claim, error);
    });
    return releasing;
  };

  const lock: Omit<Lock, "token"> = {
    key,
    owner,
    fence,
    signal,
    get held() {
      return remaining() > 0;
    },
    get remaining() {
      return remaining();
    },
    async extend(ttl) {
      wanted = readOptions(settings, { ttl: ttl ?? wanted }).ttl;
      return extendTo(wanted);
    },
    release: ({ failed } = {}) => end(!failed),
    toJSON() {
      const left = Math.ceil(Math.max(0, holdFor - sinceAcquired()));
      const handle = { key, token, owner, fence, prefix, ttl, holdFor: left };
      // A log shows its key alone.
      return Object.defineProperty(handle, inspected, { value: () => `LockHandle { key: ${show(key)} }` });
    },
    async [Symbol.asyncDispose]() {
      await end(false).catch(() => {});
    },
  };
  // Hidden from logs.
  return Object.defineProperty(lock as Lock, "token", { value: token });
}

/** Requests to take the lock that were given up may still be executed: each is followed by a release. */
export function clearStragglers(claim: Claim): void {
  for (const straggler of claim.asker.stragglers.splice(0))
    claim.background(straggler.then(() => releaseClaim(claim, false, true)));
}

/** The error for a lock about which nothing is known. */
export function unavailable(claim: Claim, cause: unknown): LockUnavailableError {
  const error = new LockUnavailableError(claim.name, withoutToken(cause, claim.token));
  emit(claim, { type: "unavailable", error });
  return error;
}

/** What an error says, its code and its cause, and nothing else of it: clients quote commands, lock tokens included. */
function withoutToken(error: unknown, token: string, depth = 0): Error | undefined {
  if (error === undefined || depth > 4) return undefined;
  const { message = error, code, cause } = Object(error) as NodeJS.ErrnoException;
  const clean = (text: unknown) => printable(`${text}`.replaceAll(token, "[token]"));
  const copy = new Error(clean(message), { cause: withoutToken(cause, token, depth + 1) });
  return code === undefined ? copy : Object.assign(copy, { code: clean(code) });
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Checks a handle; nothing of it is shown, since it holds a token. */
export function readHandle(handle: unknown): LockHandle {
  try {
    const { key, prefix, token, ttl, owner, fence, holdFor } =
      typeof handle === "string" ? JSON.parse(handle) : handle;
    // A store may write undefined as null, and settings take an undefined one for a default.
    const read = { prefix, ttl, owner: owner ?? undefined, holdFor: holdFor ?? 0 };
    const settings = readOptions(defaults, read);
    const same = Object.entries(read).every(([name, value]) => settings[name as keyof Settings] === value);
    if (
      same &&
      uuid.test(token) &&
      (fence ?? undefined) === (Number.isSafeInteger(fence) ? fence : undefined)
    )
      return { ...read, key: readKey(key), token, fence: fence ?? undefined };
  } catch {}
  throw new LockOptionError("handle", typeof handle, "what lock.toJSON() gave, or its JSON");
}
