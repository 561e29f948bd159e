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
  /** Told of each as soon as it is done with; of one that was left out, with no error. */
  settled: (item: Item, failure?: { error: unknown }) => void;
}

/**
 * Checks the batch's own options. What it returns processes a batch, each item under its own lock: those of one key,
 * or one group, in their order, others side by side. It never rejects.
 * @throws LockOptionError
 */
export function batchProcessor<Item extends object, Rest extends unknown[]>(
  guard: Guard<[Item, ...Rest], unknown>,
  { concurrency = 10, onError = logged }: Pick<BatchOptions<Item, Rest>, "concurrency" | "onError">,
  process: Process<Item, Rest>,
): (batch: Batch<Item, Rest>) => Promise<void> {
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw new LockOptionError("concurrency", show(concurrency), "a whole number from 1");
  if (typeof onError !== "function") throw new LockOptionError("onError", show(onError), "a function");

  return async ({ items, rest, about, groupOf, settled }) => {
    const failedGroups = new Set<string | undefined>();

    const makeTurn = async (item: Item): Promise<Turn> => {
      const group = groupOf?.(item);
      const fail = (error?: unknown) => {
        settled(item, { error });
        if (group) failedGroups.add(group);
      };
      // All keys are made before any item is processed, which might change another.
      let key: string | undefined;
      let noKey: unknown;
      try {
        key = await guard.key([item, ...rest]);
      } catch (error) {
        noKey = error;
      }
      return {
        lanes: [`key ${key}`, ...(group ? [`group ${group}`] : [])],
        async run() {
          if (failedGroups.has(group)) return fail();
          try {
            if (!key) throw noKey;
            await run(
              guard,
              [item, ...rest],
              about,
              (lock) => process(attach(item, lock), ...rest),
              undefined,
              key,
            );
            settled(item);
          } catch (error) {
            fail(error);
            try {
              onError(error, item);
            } catch {}
          }
        },
      };
    };
    await inLanes(await Promise.all(items.map(makeTurn)), concurrency);
  };
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
