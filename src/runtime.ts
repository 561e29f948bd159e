/// <reference path="./globals.ts" preserve="true" />

/** Milliseconds since a moment. */
export type Since = () => number;

/** Time, timers and randomness: what a test or a simulation holds in its hands. */
export interface Runtime {
  /**
   * Starts to count on two clocks, and tells what the more pessimistic of them says. The wall clock sees a machine
   * that was suspended, the monotonic clock sees a wall clock that was set back.
   */
  sinceNow(): Since;
  /** Ms since 1970. For people to read: nothing is decided by it. */
  wallClock(): number;
  /** Calls back in `ms`, unless cancelled by what it returns. A `background` timer does not keep the process alive. */
  later(callback: () => void, ms: number, background?: boolean): () => void;
  /** From 0 up to 1. */
  random(): number;
  /**
   * 128 random bits, in hex. Node's `crypto.randomUUID` draws from a cache, which processes of one
   * startup snapshot or clones of one machine share.
   */
  token(): string;
}

/** The real thing. Globals are looked up at each call, so that fake timers are honoured. */
export const realRuntime: Runtime = {
  sinceNow() {
    const wall = Date.now();
    const mono = performance.now();
    return () => Math.max(Date.now() - wall, performance.now() - mono);
  },
  wallClock: () => Date.now(),
  later(callback, ms, background) {
    const timer: unknown = setTimeout(callback, ms);
    // Only Node's, Deno's and Bun's timers keep a process alive; elsewhere a timer is a number.
    if (background) (timer as { unref?: () => void }).unref?.();
    return () => clearTimeout(timer as number);
  },
  random: () => Math.random(),
  token() {
    const words = crypto.getRandomValues(new Uint32Array(4));
    return Array.from(words, (word) => word.toString(16).padStart(8, "0")).join("");
  },
};

export const forever = Infinity;

/** Who acts when a signal aborts. One listener serves all: Node warns of more than ten under one signal. */
const acting = new WeakMap<AbortSignal, { acts: Set<() => void>; listener: () => void }>();

/** Acts when the signal aborts, at once if it has already, until the function it returns is called. */
export function whenAborted(signal: AbortSignal | undefined, act: () => void): () => void {
  if (!signal) return () => {};
  if (signal.aborted) {
    act();
    return () => {};
  }
  let entry = acting.get(signal);
  if (!entry) {
    const acts = new Set<() => void>();
    entry = { acts, listener: () => acts.forEach((each) => void each()) };
    acting.set(signal, entry);
    signal.addEventListener("abort", entry.listener);
  }
  const { acts, listener } = entry;
  // The same function may be given twice.
  const once = () => act();
  acts.add(once);
  return () => {
    if (!acts.delete(once) || acts.size > 0) return;
    acting.delete(signal);
    signal.removeEventListener("abort", listener);
  };
}

/**
 * Settles as `promise` does, if there is one, unless `ms` pass before, when it rejects with what `late` makes, or resolves
 * without; or `signal` aborts, when it rejects with its reason. Leaves no timer and no listener behind. An error is made
 * only where it is needed, since its stack takes time.
 */
export function within<T>(
  runtime: Runtime,
  promise: Promise<T> | undefined,
  ms: number,
  late?: () => Error,
  signal?: AbortSignal,
): Promise<T | undefined> {
  let end = () => {};
  return new Promise<T | undefined>((resolve, reject) => {
    const cancel = runtime.later(() => (late ? reject(late()) : resolve(undefined)), ms);
    const forget = whenAborted(signal, () => reject(signal?.reason));
    end = () => {
      cancel();
      forget();
    };
    promise?.then(resolve, reject);
  }).finally(() => end());
}

/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export function sleep(runtime: Runtime, ms: number, signal?: AbortSignal): Promise<void> {
  return within<void>(runtime, undefined, ms, undefined, signal);
}
