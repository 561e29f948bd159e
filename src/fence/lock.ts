/** What a fence uses of a lock that was taken with `fencing: true`. */
export interface FencedLock {
  readonly keys: readonly string[];
  /** The token of the lock: that of a later holder is greater. */
  readonly fence: number | undefined;
}

/** @throws TypeError for a lock without a key or a token: its write could not be told from a stale one */
export function fenceOf(lock: FencedLock): number {
  const { keys, fence } = Object(lock) as FencedLock;
  if (!(Array.isArray(keys) && keys.length > 0))
    throw new TypeError("lock: got no lock, expected one with its keys");
  if (Number.isSafeInteger(fence) && (fence as number) > 0) return fence as number;
  throw new TypeError("The lock has no fencing token. Take it with fencing: true");
}
