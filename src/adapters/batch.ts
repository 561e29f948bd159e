import { LockBusyError, LockOptionError, show } from "../errors.ts";
import type { Lock } from "../lock.ts";
import { attach, type Guard, type Invocation, type LockTarget, run } from "./run.ts";

/** What the adapters of queues take. Whatever could not be locked goes back to the queue. */
export interface BatchOptions<Item, Rest extends unknown[]> extends LockTarget<[item: Item, ...rest: Rest]> {
  /** How many are processed side by side. @default 10 */
  concurrency?: number | undefined;
  /** Told of each that failed and goes back to the queue. @default console.error, but not of a `LockBusyError` */
  onError?: ((error: unknown, item: Item) => void) | undefined;
}

export type Process<Item, Rest extends unknown[]> = (item: Item & { lock: Lock }, ...rest: Rest) => unknown;

/** The options that are the batch's own. */
export const batchOptions = ["key", "locker", "concurrency", "onError"];

interface Batch<Item, Rest extends unknown[]> {
  items: readonly Item[];
  rest: Rest;
  about: Invocation;
  /** Of the items of one group, none is processed after one that failed. */
  groupOf?: (item: Item) => string | undefined;
  /** Told of each as soon as it is done with. */
  settled?: (item: Item, failure: { error: unknown } | undefined) => void;
}

/**
 * Checks the batch's own options. What it returns processes a batch, each item under its own lock: those of one key, or one
 * group, in their order, others side by side. It resolves to those that failed, each with its error.
 * @throws LockOptionError
 */
export function batchProcessor<Item extends object, Rest extends unknown[]>(
  guard: Guard<[Item, ...Rest], unknown>,
  { concurrency = 10, onError = logged }: Pick<BatchOptions<Item, Rest>, "concurrency" | "onError">,
  process: Process<Item, Rest>,
): (batch: Batch<Item, Rest>) => Promise<Map<Item, unknown>> {
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw new LockOptionError("concurrency", show(concurrency), "a whole number from 1");
  if (typeof onError !== "function") throw new LockOptionError("onError", show(onError), "a function");

  return async ({ items, rest, about, groupOf, settled }) => {
    const failed = new Map<Item, unknown>();
    const failedGroups = new Set<string>();
    const fail = (item: Item, error: unknown) => {
      failed.set(item, error);
      settled?.(item, { error });
      const group = groupOf?.(item);
      if (group) failedGroups.add(group);
    };

    /** @param key what to lock, or the error that came in its place */
    const processOne = async (item: Item, key: string | { error: unknown }) => {
      if (failedGroups.has(groupOf?.(item) ?? "")) return fail(item, undefined);
      const work = (lock: Lock) => process(attach(item, lock), ...rest);
      try {
        if (typeof key !== "string") throw key.error;
        await run(guard, [item, ...rest], about, work, undefined, key);
        settled?.(item, undefined);
      } catch (error) {
        fail(item, error);
        try {
          onError(error, item);
        } catch {}
      }
    };

    // All keys are made before any item is processed, which might change another.
    const turns = items.map((item): Turn => {
      const key = keyOf(() => guard.key([item, ...rest]));
      const group = groupOf?.(item);
      const lanes = typeof key === "string" ? [`key ${key}`] : [];
      if (group) lanes.push(`group ${group}`);
      return { lanes, run: () => processOne(item, key) };
    });
    await inLanes(turns, concurrency);
    return failed;
  };
}

function keyOf(make: () => string): string | { error: unknown } {
  try {
    return make();
  } catch (error) {
    return { error };
  }
}

function logged(error: unknown): void {
  if (!(error instanceof LockBusyError)) console.error(error);
}

interface Turn {
  lanes: string[];
  run(): Promise<void>;
}

/** Runs turns side by side, up to `concurrency` at a time; those that share a lane one after another, in their order. */
async function inLanes(turns: readonly Turn[], concurrency: number): Promise<void> {
  const last = new Map<string, Promise<void>>();
  const waiting: (() => void)[] = [];
  let free = concurrency;
  async function runAfter(before: Promise<unknown>, run: Turn["run"]): Promise<void> {
    await before;
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    await run();
    const next = waiting.shift();
    if (next) next();
    else free++;
  }
  const runs = turns.map(({ lanes, run }) => {
    const done = runAfter(Promise.all(lanes.map((lane) => last.get(lane))), run);
    for (const lane of lanes) last.set(lane, done);
    return done;
  });
  await Promise.all(runs);
}
