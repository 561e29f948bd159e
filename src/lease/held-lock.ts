import type { Duration, Lock } from "../api.ts";
import { LockLostError, LockOptionError } from "../errors.ts";
import { emit } from "../events.ts";
import { leaseFor } from "../options/durations.ts";
import { readOptions } from "../options/lock-options.ts";
import { followAbandoned, giveUp } from "../protocol/abandon.ts";
import type { Attempt, Claim, Part } from "../protocol/attempt.ts";
import { extend, keep, share } from "../protocol/extend.ts";
import { type Grant, gone } from "../protocol/protocol.ts";
import { release } from "../protocol/release.ts";
import { kindOf, stateMark } from "../protocol/state.ts";
import { insistEvery } from "../protocol/timing.ts";
import { RefusedError } from "../redis/client.ts";
import { forever, sleep, whenAborted } from "../runtime.ts";
import { unavailable } from "../unavailable.ts";
import { leaseLeft, newBelief } from "./belief.ts";
import { inspectedAs, newHandle } from "./handle.ts";
import { createLease } from "./renewal.ts";
import { clockedSignal } from "./signal.ts";

/** A lock, and another way to end it than a release. */
export interface Held {
  lock: Lock;
  /**
   * Ends it by `ask`, which is asked until it is answered or the lease is over. Else as `lock.release`.
   * @throws LockUnavailableError; it may be released then
   */
  endBy(ask: () => Promise<boolean>): Promise<boolean>;
}

/**
 * A lock that was just taken.
 * @param queued whether its attempt may stand in a queue
 */
export function holdLock(attempt: Attempt, grant: Grant, queued: boolean): Held {
  return newLock(attempt, grant, queued);
}

/** A lock that was taken elsewhere. */
export function resumeLock(
  attempt: Attempt,
  { fence, unsettled }: { fence: number | undefined; unsettled: number },
): Lock {
  const parts = attempt.claims.map((claim) => ({ claim, value: stateMark }));
  return newLock(attempt, { parts, lease: 0, since: attempt.age, fence, unsettled }, false).lock;
}

/** What the work gets if Redis cannot be asked, and it is to go on without the lock. */
export function unheldLock(attempt: Attempt): Held {
  return newLock(attempt, undefined, false);
}

let releasedReason: DOMException | undefined;

/** Why the signal of a released lock is aborted. Made once: its stack says nothing, and takes time. */
function onReleased(): DOMException {
  releasedReason ??= new DOMException("The lock was released", "AbortError");
  return releasedReason;
}

/** @param taken undefined for a lock that is never held */
function newLock(
  asked: Attempt,
  taken: Omit<Grant, "held" | "handedOver"> | undefined,
  queued: boolean,
): Held {
  let { claims } = asked;
  /** What was asked for, as it is locked by now. */
  const attempt: Attempt = {
    ...asked,
    get claims() {
      return claims;
    },
  };
  const { connection, key, settings } = attempt;
  const { ttl, owner, signal: outer, renew } = settings;
  const { parts = [], lease: firstLease = 0, since: sinceLease = attempt.age, fence } = taken ?? {};
  // Windows count from here, where work can begin. A lease began earlier: who waited may have asked for it long ago.
  const sinceAcquired = connection.runtime.sinceNow();
  /** The lease it is renewed to. */
  let wanted = ttl;
  let forgetOuter = () => {};
  let releasing: Promise<boolean> | undefined;
  let fate: "released" | "lost" | undefined;
  /** Whether a release of unknown fate may have been executed. */
  let maybeReleased = false;
  const abort = clockedSignal(() => void lease.remaining());
  const { signal } = abort;
  const lease = createLease(attempt, {
    status: taken ? (attempt.resumed ? "resumed" : "held") : "over",
    parts,
    belief: newBelief(firstLease, sinceLease, taken?.unsettled),
    renewFor: renew || 0,
    renewal: extend,
    onLost: lose,
    onTakenAway() {
      // What is left of several locks is nobody's use.
      if (claims.length > 1) attempt.background(release(attempt, lease.parts()));
    },
    onHeld: heedOuter,
  });

  /** Ms left of the window for which a success keeps a lock. */
  function windowLeft({ holdFor }: Claim): number {
    return Math.ceil(Math.max(0, holdFor - sinceAcquired()));
  }

  /** The lease in ms that is asked for now: it ends with the caller's own time, as long as there is any left. */
  function leaseNow(): number {
    return Math.min(wanted, leaseFor(attempt.remainingTime() || forever));
  }

  function lose(error: LockLostError): void {
    if (fate === "lost") return;
    fate = "lost";
    stop();
    abort.abort(error);
    emit(attempt, { type: "lost", error });
  }

  function stop(): void {
    lease.end();
    forgetOuter();
  }

  function releaseOnce(letGo: LetGo): Promise<boolean> {
    const sinceAsked = connection.runtime.sinceNow();
    releasing ??= releaseBy(letGo).catch((error) => {
      releasing = undefined;
      throw unavailable(attempt, error, "release", sinceAsked);
    });
    return releasing;
  }

  async function releaseBy(letGo: LetGo): Promise<boolean> {
    const heldFor = sinceAcquired();
    const left = () => leaseLeft(lease.belief());
    // Of a resumed lock that was never extended it is not known when its lease ends.
    const again = fate === "released" && (left() > 0 || !lease.belief().lease);
    const ours = again || lease.mayBeOurs();
    const remaining = Math.max(0, left());
    if (ours) fate = "released";
    stop();
    // Whoever heeds it has stopped by the time another gets the lock.
    abort.abort(onReleased());
    if (!taken) return false;
    if (!ours) {
      lose(new LockLostError(key, "its lease ended"));
      // The server may keep the lock a little longer than we relied on it.
      await endHere(lease.parts()).catch(() => {});
      return false;
    }
    // While its lease lasts, only we can have ended it.
    const before = maybeReleased && left() > 0;
    const released = await letGo(lease.parts()).catch((error) => {
      maybeReleased ||= !(error instanceof RefusedError);
      throw error;
    });
    followAbandoned(attempt, queued);
    const stillHeld = before || released;
    if (!stillHeld) lose(new LockLostError(key, gone));
    emit(attempt, {
      type: "released",
      stillHeld,
      heldFor,
      remaining,
      kept: stillHeld && letGo === keepWindows,
    });
    return stillHeld;
  }

  /** Ends locks at the server. A request that was given up may yet take them, unless it finds a tombstone. */
  async function endHere(parts: readonly Part[]): Promise<boolean> {
    // A request to keep them, whose reply was lost, may have been executed.
    if (maybeReleased && claims.some(windowLeft) && (await keep(attempt, parts, () => 1))) return true;
    return queued && attempt.abandoned.length > 0 ? giveUp(attempt, true) : release(attempt, parts);
  }

  /** Keeps each lock for the rest of its window, and lets go of those that have none. */
  async function keepWindows(parts: readonly Part[]): Promise<boolean> {
    const kept = parts.filter(({ claim }) => windowLeft(claim) > 0);
    const free = parts.filter((part) => !kept.includes(part));
    const keeping = insist(() => keep(attempt, kept, (claim) => Math.max(1, windowLeft(claim))));
    const freeing = free.length === 0 || insist(() => release(attempt, free));
    // Neither goes on in the background when the other has failed.
    await Promise.allSettled([keeping, freeing]);
    if (await keeping) return freeing;
    // What an operator ended is kept no longer than its holder works.
    await release(attempt, kept).catch(() => {});
    return false;
  }

  /** It is tried for as long as the lease lasts, lest the work is done again. */
  async function insist(ask: () => Promise<boolean>): Promise<boolean> {
    // A caller that has none left at the start may be wrong about that.
    const timed = attempt.remainingTime() > 0;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const left = Math.min(leaseLeft(lease.belief()), timed ? attempt.remainingTime() : forever);
        // A share of the caller's time is to do for an answer.
        if (error instanceof RefusedError || left <= Math.min(1000, ttl / 10)) throw error;
        await sleep(connection.runtime, insistEvery);
      }
    }
  }

  function heedOuter(): void {
    forgetOuter = whenAborted(outer, () => {
      abort.abort(outer?.reason);
      lease.stopRenewing();
    });
  }

  lease.start();
  // A handle may be dropped: until it is known to be held, it leaves no listener behind.
  if (!attempt.resumed || outer?.aborted) heedOuter();

  const lock: Omit<Lock, "token"> = {
    key,
    keys: claims.map((claim) => claim.key),
    owner,
    fence,
    signal,
    get held() {
      return lease.remaining() > 0;
    },
    get remaining() {
      return lease.remaining();
    },
    async extend(ttl: Duration = wanted) {
      wanted = readOptions(settings, { ttl }).ttl;
      lease.renewTo(wanted);
      return lease.extend(leaseNow(), extend);
    },
    async downgrade() {
      if (claims.some(({ mode }) => kindOf(mode) !== "exclusive"))
        throw new LockOptionError("downgrade", "a lock that is not exclusive", "exclusive targets");
      const shared = claims.map((claim) => ({ ...claim, mode: "s" }));
      return lease.extend(leaseNow(), async (...asking) => {
        const extension = await share(...asking);
        if (typeof extension !== "string") claims = shared;
        return extension;
      });
    },
    // It may be a callback: what it is called with then is nobody's mistake.
    release: (options) =>
      releaseOnce(!Object(options).failed && claims.some(windowLeft) ? keepWindows : endHere),
    toJSON: () => newHandle(attempt, { ttl: wanted, fence, unsettled: lease.belief().unsettled, windowLeft }),
    async [Symbol.asyncDispose]() {
      await releaseOnce(endHere).catch(() => {});
    },
  };
  const token = claims.map((claim) => claim.token).join();
  const whole = Object.defineProperty(lock as Lock, "token", { value: token });
  return {
    lock: inspectedAs(whole, () => ({ ...lock })),
    endBy: (ask) => releaseOnce(() => insist(ask)),
  };
}

/** Ends locks that are ours. True if they still were. */
type LetGo = (parts: readonly Part[]) => Promise<boolean>;
