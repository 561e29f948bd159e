import { acquireHeld } from "../acquire/acquire.ts";
import type { Duration, Lock, Locker, LockOptions, WithLockOptions, Work } from "../api.ts";
import { withDoor } from "../door.ts";
import { LockLostError, LockOptionError, show } from "../errors.ts";
import { emit, tell } from "../events.ts";
import { type Held, unheldLock } from "../lease/held-lock.ts";
import { lossOf } from "../locker.ts";
import { readOptions } from "../options/lock-options.ts";
import { checkFunction, duration } from "../options/rules.ts";
import { readKey, whole } from "../options/targets.ts";
import { type Attempt, type Claim, newAttempt } from "../protocol/attempt.ts";
import { deliver, readResult } from "../protocol/deliver.ts";
import { gone, resultKey } from "../protocol/protocol.ts";
import { forever, type Since } from "../runtime.ts";
import { ResultMismatchError } from "./errors.ts";
import { decodeResult, encodeResult, fingerprintOf } from "./result.ts";

/** Options of `singleFlight`. Those of locks are by default the locker's. */
export interface SingleFlightOptions extends Omit<LockOptions, "holdFor">, Pick<WithLockOptions, "onLost"> {
  /**
   * For how long whoever comes gets the result, counted from when the work is done. 0 to 31 days. 0 shares it with
   * those who wait at that moment, and with nobody else.
   */
  keepFor: Duration;
  /** How long to wait while another works. @default "30s", whatever the locker says */
  wait?: Duration | undefined;
  /**
   * What the work is for: a text, bytes (`Uint8Array`), or what JSON can say; kept as its SHA-256. Whoever comes with
   * another one gets a `ResultMismatchError`. @default none: it is not looked at
   */
  fingerprint?: unknown;
  /** The longest result that is kept, as JSON, in bytes. Up to 8,000,000. @default 262_144 */
  maxBytes?: number | undefined;
  /**
   * Told why a result is not kept that its own caller gets: it is too long, or Redis could not be asked. What it throws
   * changes nothing. @default console.error
   */
  onError?: ((error: Error) => unknown) | undefined;
}

const keepingTime = duration(0, 0, "31d");
const mostBytes = 8_000_000;

/** Options that are no lock's. */
const ownNames = ["keepFor", "fingerprint", "maxBytes", "onError", "holdFor"];

/**
 * Runs the work once for all who ask for it. One runs it under the lock of the key. Whoever comes meanwhile waits and
 * gets its result, and whoever comes within `keepFor` gets it by one request. If the work throws, its caller gets the
 * error, nothing is kept, and the next in line runs.
 *
 * A result is anything that JSON can say, or undefined; a property that is undefined is left out of it.
 * @throws LockBusyError if another still works after `wait`
 * @throws LockUnavailableError when Redis could not be asked, before the work
 * @throws LockLostError once the work is done, if the lock was lost meanwhile: nothing is kept then
 * @throws ResultMismatchError if the result is that of another `fingerprint`
 * @throws LockOptionError before any request; and after the work for a result that JSON cannot say
 *
 * @example
 * const token = await singleFlight(locker, "oauth:42", { keepFor: "50m" }, () => refresh(42));
 */
export async function singleFlight<T>(
  locker: Pick<Locker, "run">,
  key: string,
  options: SingleFlightOptions,
  work: Work<T>,
): Promise<T> {
  checkFunction("work", work);
  const flight = await takeFlight(locker, key, readOwn(options), options);
  if ("result" in flight) return flight.result as T;
  const { lock, land } = flight;
  const wasHeld = lock.held;
  let result: T;
  let landing: Promise<boolean>;
  try {
    result = await work(lock);
    landing = land(result);
  } catch (error) {
    await lock.release({ failed: true }).catch(() => {});
    throw error;
  }
  // Not with `ifUnavailable: "proceed"`: what was never held cannot be lost.
  if (!(await landing) && wasHeld && options.onLost !== "ignore")
    throw lossOf(lock) ?? new LockLostError(key, gone);
  return result;
}

/** The lock of a flight that is ours, and how it ends. */
export interface Flight {
  lock: Lock;
  /**
   * Delivers a result to all who wait, keeps it and ends the lock. False if it was lost: then nothing is kept.
   * @throws LockOptionError for a result that JSON cannot say; the lock is still held then
   */
  land(result: unknown): Promise<boolean>;
}

/**
 * Takes the lock of a flight, or the result of another's.
 * @param own what is no option of a lock, checked
 */
export async function takeFlight(
  locker: Pick<Locker, "run">,
  key: string,
  own: OwnOptions,
  options: LockOptions,
): Promise<Flight | { result: unknown }> {
  const fingerprint = own.fingerprint === undefined ? "" : await fingerprintOf(own.fingerprint);
  const attempt = newFlight(locker, key, options);
  const outcome = await acquireHeld(attempt);
  if ("lock" in outcome) {
    const land = (result: unknown) => deliverResult(attempt, outcome, encodeResult(result, fingerprint), own);
    return { lock: outcome.lock, land };
  }
  const text = readResult(outcome.result);
  if (text === undefined) throw new Error("no result of this package");
  const kept = decodeResult(text);
  emit(attempt, { type: "replayed", took: attempt.age() });
  if (fingerprint && kept.fingerprint && kept.fingerprint !== fingerprint) throw new ResultMismatchError(key);
  return { result: kept.value };
}

/** A lock that is never held, for work that needs none. */
export function unheldFlight(locker: Pick<Locker, "run">, key: string, options: LockOptions): Lock {
  return unheldLock(newFlight(locker, key, options)).lock;
}

function newFlight(locker: Pick<Locker, "run">, key: string, options: LockOptions): Attempt {
  const target = { key: readKey(key), mode: "f", weight: 1, holdFor: 0 };
  return withDoor(locker).run(({ connection, settings }) => {
    const base = { ...settings, wait: 30_000, renew: settings.renew ?? forever };
    return newAttempt(connection, readOptions(base, options, ownNames), [target]);
  });
}

/** Ends the lock after the work by delivering the text of its result. False if it was lost. */
async function deliverResult(
  attempt: Attempt,
  { lock, endBy }: Held,
  text: string,
  { keepFor, maxBytes, onError }: OwnOptions,
): Promise<boolean> {
  const bytes = text.length - text.indexOf(":") - 1;
  if (bytes > maxBytes) {
    tell(onError, new LockOptionError("result", `${bytes} bytes`, `at most maxBytes (${maxBytes})`));
    // A release that cannot be asked for is an event: the work was done under the lock.
    return lock.release({ failed: true }).catch(() => true);
  }
  const [claim] = attempt.claims as readonly [Claim];
  let first: Since | undefined;
  try {
    return await endBy(() => {
      const earlier = first;
      first ??= attempt.connection.runtime.sinceNow();
      return deliver(attempt, claim, { text, keepFor, fence: lock.fence, earlier });
    });
  } catch (error) {
    // Its caller has it all the same. Nobody else does. The lease may have ended while Redis was asked.
    tell(onError, error as Error);
    await lock.release({ failed: true }).catch(() => {});
    return true;
  }
}

/** Drops the result that is kept under a key. Work that is under way stores its own all the same. */
export async function forget(locker: Pick<Locker, "run">, key: string): Promise<void> {
  const name = readKey(key);
  await withDoor(locker).run(({ ask, redisKey }) => ask(name, ["DEL", resultKey(redisKey(name))]));
}

/** The options of a flight that are no lock's, checked. */
export interface OwnOptions {
  keepFor: number;
  maxBytes: number;
  fingerprint: unknown;
  onError(error: Error): unknown;
}

/** @throws LockOptionError */
export function readOwn(options: SingleFlightOptions): OwnOptions {
  const { keepFor, maxBytes = 262_144, fingerprint, onError = console.error, holdFor } = Object(options);
  const keep = keepingTime.read(keepFor);
  if (keep === undefined) throw new LockOptionError("keepFor", show(keepFor), keepingTime.fits);
  if (holdFor !== undefined) throw new LockOptionError("holdFor", show(holdFor), "none beside keepFor");
  checkFunction("onError", onError);
  return { keepFor: keep, maxBytes: whole("maxBytes", maxBytes, mostBytes), fingerprint, onError };
}
