import type { Lock } from "../api.ts";
import { LockLostError } from "../errors.ts";
import { emit } from "../events.ts";
import { leaseFor } from "../options/durations.ts";
import { readOptions } from "../options/lock-options.ts";
import { followAbandoned, giveUp } from "../protocol/abandon.ts";
import type { Attempt } from "../protocol/attempt.ts";
import { extend, keep } from "../protocol/extend.ts";
import type { Grant } from "../protocol/protocol.ts";
import { release } from "../protocol/release.ts";
import { stateMark } from "../protocol/state.ts";
import { RefusedError } from "../redis/client.ts";
import { forever, whenAborted } from "../runtime.ts";
import { unavailable } from "../unavailable.ts";
import { type Belief, leaseLeft, newBelief, onAsking, onExtended } from "./belief.ts";
import { inspectedAs, newHandle } from "./handle.ts";
import { clockedSignal } from "./signal.ts";

/** Why a lock was lost that somebody else ended. */
export const gone = "another has it, or it was deleted";

/** `resumed` and `unheld` locks are not known to be held: one may become so by `extend`, the other never. */
type State = "held" | "released" | "lost" | "resumed" | "unheld";

/**
 * A lock that was just taken.
 * @param queued whether its attempt may stand in the queue
 */
export function holdLock(attempt: Attempt, grant: Grant, queued: boolean): Lock {
  return newLock(attempt, "held", { ...grant, queued });
}

/** A lock that was taken elsewhere. */
export function resumeLock(attempt: Attempt, fence: number | undefined): Lock {
  return newLock(attempt, "resumed", { value: stateMark, lease: 0, since: attempt.age, fence });
}

/** What the work gets if Redis cannot be asked, and it is to go on without the lock. */
export function unheldLock(attempt: Attempt): Lock {
  return newLock(attempt, "unheld", { value: stateMark, lease: 0, since: attempt.age });
}

interface Facts extends Pick<Grant, "value" | "lease" | "since" | "fence"> {
  queued?: boolean;
}

function newLock(attempt: Attempt, state: State, facts: Facts): Lock {
  const { connection, key, settings, token } = attempt;
  const { runtime } = connection;
  const { prefix, ttl, owner, signal: outer, holdFor } = settings;
  const { fence, queued = false, since: sinceAcquired } = facts;
  /** What is at the lock, as far as we know. */
  let { value } = facts;
  let belief = newBelief(facts.lease, facts.since);
  /** The lease it is renewed to. */
  let wanted = ttl;
  /** For how long after acquire it is renewed. */
  let renewFor = settings.renew ?? 0;
  let cancelTimer = () => {};
  let forgetOuter = () => {};
  let extending: Promise<unknown> = Promise.resolve();
  let releasing: Promise<boolean> | undefined;
  /** Whether a release of unknown fate may have been executed. */
  let maybeReleased = false;
  const abort = clockedSignal(() => void remaining());
  const { signal } = abort;

  function remaining(): number {
    if (state !== "held") return 0;
    const left = leaseLeft(belief);
    if (left > 0) return left;
    lose("its lease ended");
    return 0;
  }

  /** Ms left of the window for which a success keeps the lock. */
  function windowLeft(): number {
    return Math.ceil(Math.max(0, holdFor - sinceAcquired()));
  }

  function lose(why: string): void {
    if (state === "lost") return;
    state = "lost";
    stop();
    const error = new LockLostError(key, why);
    abort.abort(error);
    emit(attempt, { type: "lost", error });
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
    const left = Math.min(attempt.remainingTime(), renewFor - sinceAcquired());
    schedule(forever);
    // What is left of the lease may do for what is left of the function.
    if (remaining() >= left) return;
    // A timer that fires late, in a thawed sandbox, finds the lease over, and then nothing is sent.
    // If it fails, it is tried again until the lease ends.
    extendTo(Math.min(wanted, leaseFor(left))).catch(() => schedule(wanted / 10));
  }

  function believe(changed: Belief): void {
    belief = changed;
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
    const before = belief;
    const asking = onAsking(before, ttl, runtime.sinceNow());
    // A timer that is set stays, unless the lease got shorter.
    if (asking.lease === before.lease) belief = asking;
    else believe(asking);
    const extension = await extend(attempt, value, ttl).catch((error) => {
      throw unavailable(attempt, error);
    });
    if (state !== "held" && state !== "resumed") return false;
    if (!extension) {
      lose(gone);
      return false;
    }
    value = extension.value;
    if (state === "resumed") heedOuter();
    state = "held";
    believe(onExtended(before, ttl, extension));
    const left = remaining();
    if (left) emit(attempt, { type: "renewed", remaining: left });
    return left > 0;
  }

  function releaseOnce(letGo: () => Promise<boolean>): Promise<boolean> {
    releasing ??= releaseBy(letGo).catch((error) => {
      releasing = undefined;
      throw unavailable(attempt, error);
    });
    return releasing;
  }

  async function releaseBy(letGo: () => Promise<boolean>): Promise<boolean> {
    // Of a resumed lock that was never extended it is not known when its lease ends.
    const mayBeOurs = state === "released" && (leaseLeft(belief) > 0 || !belief.lease);
    const ours = mayBeOurs || state === "resumed" || remaining() > 0;
    if (ours) state = "released";
    stop();
    // Whoever heeds it has stopped by the time another gets the lock.
    abort.abort(new DOMException("The lock was released", "AbortError"));
    if (state === "unheld") return false;
    if (!ours) {
      lose("its lease ended");
      // The server may keep the lock a little longer than we relied on it.
      await endHere().catch(() => {});
      return false;
    }
    // While its lease lasts, only we can have ended it.
    const before = maybeReleased && leaseLeft(belief) > 0;
    const released = await letGo().catch((error) => {
      maybeReleased ||= !(error instanceof RefusedError);
      throw error;
    });
    followAbandoned(attempt, queued);
    const stillHeld = before || released;
    if (!stillHeld) lose(gone);
    emit(attempt, { type: "released", stillHeld });
    return stillHeld;
  }

  /** Ends the lock at the server. A request that was given up may yet take it, unless it finds a tombstone. */
  function endHere(): Promise<boolean> {
    return queued && attempt.abandoned.length > 0 ? giveUp(attempt, true) : release(attempt, value);
  }

  /** Keeps the lock for the rest of `holdFor`. It is tried until the lease ends, lest the work is done again. */
  async function keepOn(): Promise<boolean> {
    for (;;) {
      try {
        return await keep(attempt, value, Math.max(1, windowLeft()));
      } catch (error) {
        if (error instanceof RefusedError || leaseLeft(belief) <= 0) throw error;
      }
    }
  }

  function heedOuter(): void {
    forgetOuter = whenAborted(outer, () => {
      abort.abort(outer?.reason);
      renewFor = 0;
      schedule();
    });
  }

  schedule();
  // A handle may be dropped: until it is known to be held, it leaves no listener behind.
  if (state !== "resumed" || outer?.aborted) heedOuter();

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
    release: ({ failed } = {}) => releaseOnce(!failed && windowLeft() ? keepOn : endHere),
    toJSON: () => newHandle({ key, token, owner, fence, prefix, ttl, holdFor: windowLeft() }),
    async [Symbol.asyncDispose]() {
      await releaseOnce(endHere).catch(() => {});
    },
  };
  const whole = Object.defineProperty(lock as Lock, "token", { value: token });
  return inspectedAs(whole, () => ({ ...lock }));
}
