import type { FencedLock } from "./lock.ts";

/** A lock as the kit makes it up: what a write uses of one. */
export interface KitLock extends FencedLock {
  readonly key: string;
  readonly fence: number;
}

export interface FenceKitOptions {
  /** What is written, read again: then a write that was refused, but left its value all the same, is found too. */
  read?: ((lock: KitLock) => unknown) | undefined;
  /** What the locks lock. @default a new key for each order */
  key?: string | undefined;
}

/** The highest token so far: a key may be written by one test after another. */
let lastFence = 0;

/**
 * Tests a write that is to be fenced. Runs it with an older and a newer token, one after the other in both orders, the
 * same token twice, and with `read` also both at once. Rejects with an Error that says which stale write got through,
 * or which write was refused that was not stale.
 * @param write writes the value with the lock's token. Rejects if the resource refuses it
 *
 * @example
 * test("a stale holder cannot write", () =>
 *   fenceKit((lock, value) => saveBalance(lock, value), { read: () => loadBalance() }));
 */
export async function fenceKit(
  write: (lock: KitLock, value: string) => unknown,
  options: FenceKitOptions = {},
): Promise<void> {
  const { read, key, ...others } = Object(options) as FenceKitOptions;
  // A look at the resource that was misspelt would look at nothing.
  for (const [name, value] of Object.entries({ write, read: read ?? write, ...others }))
    if (name in others || typeof value !== "function")
      throw new TypeError(
        `${name}: got ${typeof value}, expected ${name in others ? "read or key" : "a function"}`,
      );

  /** Two locks of one key, the second taken after the first. */
  function twoLocks(): [KitLock, KitLock] {
    const name = key ?? `fence-kit-${Math.random().toString(36).slice(2)}`;
    const older = Math.max(Date.now(), lastFence + 1);
    lastFence = older + 1;
    const lockOf = (fence: number) => ({ key: name, keys: [name], fence });
    return [lockOf(older), lockOf(lastFence)];
  }
  async function refused(lock: KitLock, value: string): Promise<{ reason: unknown } | undefined> {
    try {
      await write(lock, value);
      return undefined;
    } catch (reason) {
      return { reason };
    }
  }
  async function accept(lock: KitLock, value: string): Promise<void> {
    const error = await refused(lock, value);
    if (error) throw new Error(`The ${value} write was refused, and is not stale`, { cause: error.reason });
    await isThere(lock, value);
  }
  async function refuse(lock: KitLock, when: string): Promise<void> {
    if (!(await refused(lock, "older"))) throw new Error(`A stale write got through ${when}`);
  }
  async function isThere(lock: KitLock, value: string): Promise<void> {
    if (!read) return;
    const found = await read(lock);
    if (found !== value)
      throw new Error(`After the ${value} write the resource has ${JSON.stringify(found)}`);
  }

  {
    const [older, newer] = twoLocks();
    await accept(older, "older");
    // A holder writes more than once.
    await accept(older, "older");
    await accept(newer, "newer");
    await refuse(older, "after it had written, and a newer one behind it");
    await isThere(newer, "newer");
    await accept(newer, "newer");
  }
  {
    const [older, newer] = twoLocks();
    await accept(newer, "newer");
    await refuse(older, "after a newer one");
    await isThere(newer, "newer");
  }
  // Without a look at the resource, nothing tells in which order the two came.
  for (let round = 0; read && round < 10; round++) {
    const [older, newer] = twoLocks();
    const [, error] = await Promise.all([refused(older, "older"), refused(newer, "newer")]);
    if (error) await accept(newer, "newer");
    await isThere(newer, "newer");
  }
}
