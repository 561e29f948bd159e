import { LockLostError } from "../errors.ts";
import { emit } from "../events.ts";
import { leaseFor } from "../options/durations.ts";
import type { Attempt, Part } from "../protocol/attempt.ts";
import type { Extension, Loss } from "../protocol/protocol.ts";
import { forever } from "../runtime.ts";
import { unavailable } from "../unavailable.ts";
import { type Belief, leaseLeft, onAsking, onExtended } from "./belief.ts";

/** The lease of what an attempt took: what this process believes of it, and the one timer that renews it or ends it. */
export interface Lease {
  /** What is at the locks, as far as we know. */
  parts(): readonly Part[];
  /** Whether it may be ours: it is, or it was taken elsewhere and nobody has asked yet. */
  mayBeOurs(): boolean;
  belief(): Belief;
  /** Ms this process can be sure of. Once none are left, the lease is lost. */
  remaining(): number;
  /**
   * Starts the lease anew by `ask`. False when it was lost, or is over. One at a time: of two on the way it would be
   * unknown which one the server heard last.
   * @throws LockUnavailableError
   */
  extend(ttl: number, ask: Extend): Promise<boolean>;
  /** Starts the timer. */
  start(): void;
  /** Renews to leases of `ttl` ms from now on. */
  renewTo(ttl: number): void;
  stopRenewing(): void;
  /** Ends the belief and the timer, here. */
  end(): void;
}

/** Asks for a new lease, `ttl` ms long. A loss when the locks are not ours any more. */
type Extend = (attempt: Attempt, parts: readonly Part[], ttl: number) => Promise<Extension | Loss>;

interface Facts {
  /** A lease taken elsewhere ("resumed") is not known to be held before it is extended. */
  status: "held" | "resumed" | "over";
  parts: readonly Part[];
  belief: Belief;
  /** For how many ms from acquire it is renewed. */
  renewFor: number;
  /** Renews the lease when its time has come. */
  renewal: Extend;
  /** Told once, when the lease is lost. */
  onLost(error: LockLostError): void;
  /** Told then, if the server said so. A lease that ended here may be another process's by now, by a handle. */
  onTakenAway?(): void;
  /** Told when a lease taken elsewhere is known to be held. */
  onHeld?(): void;
}

export function createLease(attempt: Attempt, facts: Facts): Lease {
  const { runtime } = attempt.connection;
  let { status, parts, belief, renewFor } = facts;
  const sinceAcquired = runtime.sinceNow();
  /** The lease it is renewed to. */
  let wanted = attempt.settings.ttl;
  let cancelTimer = () => {};
  let extending: Promise<unknown> = Promise.resolve();

  function remaining(): number {
    if (status !== "held") return 0;
    const left = leaseLeft(belief);
    if (left > 0) return left;
    lose("its lease ended");
    return 0;
  }

  function lose(why: string): void {
    end();
    facts.onLost(new LockLostError(attempt.key, why));
  }

  function end(): void {
    status = "over";
    cancelTimer();
  }

  /** Sets the timer that renews the lease in a while, or ends it here; none if it is not held. */
  function schedule(pause = renewFor ? remaining() / 3 : forever): void {
    cancelTimer();
    const left = remaining();
    if (left) cancelTimer = runtime.later(renewNow, Math.ceil(Math.min(pause, left)), true);
  }

  function renewNow(): void {
    const left = Math.min(attempt.remainingTime(), renewFor - sinceAcquired());
    schedule(forever);
    // What is left of the lease may do for what is left of the function.
    if (remaining() >= left) return;
    // A timer that fires late, in a thawed sandbox, finds the lease over, and then nothing is sent.
    // If it fails, it is tried again until the lease ends.
    extend(Math.min(wanted, leaseFor(left)), facts.renewal).catch(() => schedule(wanted / 10));
  }

  function believe(changed: Belief): void {
    belief = changed;
    schedule();
  }

  function extend(ttl: number, ask: Extend): Promise<boolean> {
    const extended = extending.then(() => extendNow(ttl, ask));
    extending = extended.catch(() => {});
    return extended;
  }

  async function extendNow(ttl: number, ask: Extend): Promise<boolean> {
    if (!remaining() && status !== "resumed") return false;
    const before = belief;
    const sinceAsked = runtime.sinceNow();
    const asking = onAsking(before, ttl, sinceAsked);
    // A timer that is set stays, unless the lease got shorter.
    if (asking.lease === before.lease) belief = asking;
    else believe(asking);
    const extension = await ask(attempt, parts, ttl).catch((error) => {
      throw unavailable(attempt, error, "extend", sinceAsked);
    });
    if (status === "over") return false;
    if (typeof extension === "string") {
      lose(extension);
      facts.onTakenAway?.();
      return false;
    }
    parts = extension.parts;
    if (status === "resumed") facts.onHeld?.();
    status = "held";
    believe(onExtended(before, ttl, extension));
    const left = remaining();
    if (left) emit(attempt, { type: "renewed", remaining: left });
    return left > 0;
  }

  return {
    parts: () => parts,
    belief: () => belief,
    mayBeOurs: () => status === "resumed" || remaining() > 0,
    remaining,
    extend,
    start: () => schedule(),
    renewTo(ttl) {
      wanted = ttl;
    },
    stopRenewing() {
      renewFor = 0;
      schedule();
    },
    end,
  };
}
