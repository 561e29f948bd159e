import type { Lock, Targets } from "../api.ts";
import { LockBusyError, LockOptionError, show } from "../errors.ts";
import { tell } from "../events.ts";
import { checkFunction } from "../options/rules.ts";
import { readTargets, type Wanted } from "../options/targets.ts";
import { forever } from "../runtime.ts";
import {
  type AdapterOptions,
  attach,
  type Invocation,
  keyOf,
  type LockTarget,
  locking,
  print,
  report,
  runUnder,
  type Taken,
} from "./run.ts";

/** What the adapters of queues take. Whatever could not be locked goes back to the queue. */
export interface BatchOptions<Item, Rest extends unknown[]> extends LockTarget<[item: Item, ...rest: Rest]> {
  /** How many are processed side by side. @default 10 */
  concurrency?: number | undefined;
  /**
   * Told of each that failed and goes back to the queue; with a `TimeoutError` of one that was still at work when the
   * function's time was nearly over. What it throws or rejects with changes nothing. What it promises is waited for, by
   * the platform's `waitUntil` or for up to `requestTimeout`.
   * @default console.error, but not of a `LockBusyError`
   */
  onError?: ((error: unknown, item: Item) => unknown) | undefined;
}

/** What a processor of ours returns for an item that its handler sent back itself. */
export const sentBack = Symbol();

export type Process<Item, Rest extends unknown[]> = (item: Item & { lock: Lock }, ...rest: Rest) => unknown;

/** The options that are the batch's own. */
const batchOptions = ["key", "locker", "take", "concurrency", "onError"];

interface Batch<Item, Rest extends unknown[]> {
  items: readonly Item[];
  rest: Rest;
  about: Invocation;
  /** Those of one group are processed in their order, as those of one key are. */
  groupOf?: ((item: Item) => string | undefined) | undefined;
  /** Whether an item is still to be processed when its turn comes. @default true */
  isDue?: ((item: Item) => boolean) | undefined;
  /** Told of each that got its lock. Throws where it is not to be processed any more. */
  started?: ((item: Item, taken: Taken) => void) | undefined;
  succeeded(item: Item): void;
  failed(item: Item, error: unknown): Promise<void>;
}

/**
 * Checks the batch's own options. `process` processes a batch, each item under its own lock: those of one key, or one
 * group, in their order, others side by side. It never rejects. `tell` calls `onError`, and never rejects either.
 * @throws LockOptionError
 */
export function batchProcessor<Item extends object, Rest extends unknown[]>(
  options: BatchOptions<Item, Rest>,
  processItem: Process<Item, Rest>,
) {
  const all: typeof options = Object(options);
  const { concurrency = 10, onError = logged, take } = all;
  const { enter, settings } = locking(
    (take ? { ...options, ifBusy: unlessDone } : options) as AdapterOptions<[Item, ...Rest], unknown>,
    take ? [...batchOptions, "ifBusy"] : batchOptions,
  );
  checkFunction("handler", processItem);
  checkFunction("onError", onError);
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw new LockOptionError("concurrency", show(concurrency), "a whole number from 1");

  return {
    tell: (error: unknown, item: Item) => tell(onError, error, item),
    async process({ items, rest, about, groupOf, isDue, started, succeeded, failed }: Batch<Item, Rest>) {
      // All keys are made before any item is processed, which might change another.
      const keys = await Promise.allSettled(items.map((item) => keyOf(options, [item, ...rest])));
      const nth = counter();
      const many = lanesOfKeys(keys.flatMap((made) => ("value" in made ? readTargets(made.value) : [])));
      const turns = items.map((item, index): Turn => {
        const made = keys[index] as PromiseSettledResult<Targets>;
        const group = groupOf?.(item);
        return {
          lanes: ["value" in made && lanesOf(made.value, nth, many), group && `group ${group}`]
            .flat()
            .filter(Boolean),
          async run() {
            if (isDue?.(item) === false) return;
            try {
              if ("reason" in made) throw made.reason;
              const taken = await enter([item, ...rest], about, made.value);
              if (!taken.lock) return succeeded(item);
              const result = await runUnder(taken, (lock) => {
                started?.(item, taken);
                return processItem(attach(item, lock), ...rest);
              });
              if (result === sentBack) return await taken.finish(false);
              await taken.keep?.(null, true, taken.progress);
              await taken.finish(true);
              succeeded(item);
            } catch (error) {
              await report(failed(item, error), settings, about);
            }
          },
        };
      });
      await inLanes(turns, concurrency);
    },
  };
}

/** What was done before, as `idempotent` found, is done. What it refused, and anything that is busy, is to come again. */
export function unlessDone(error: LockBusyError & { answer?: unknown; refused?: unknown }): null {
  if ("answer" in error && !error.refused) return null;
  throw error.refused ?? error;
}

function logged(error: unknown): void {
  if (!(error instanceof LockBusyError)) print(error);
}

/** The lanes of an item: those that would exclude each other share one. The lanes of a key are used in turn. */
function lanesOf(
  targets: Targets,
  nth: (key: string) => number,
  many: ReadonlyMap<string, number>,
): string[] {
  return readTargets(targets).flatMap(({ key }) => {
    const lanes = many.get(key) ?? 1;
    return lanes === forever ? [] : [`key ${nth(key) % lanes} ${key}`];
  });
}

/**
 * How many lanes each key has: as many as permits fit side by side, any number for readers, and one for all of a key that
 * is locked in several ways, as by readers and writers.
 */
function lanesOfKeys(targets: readonly Wanted[]): Map<string, number> {
  const modes = new Map<string, string>();
  const many = new Map<string, number>();
  for (const { key, mode, weight } of targets) {
    const alike = (modes.get(key) ?? mode) === mode;
    const limit = Number(mode) || (mode === "s" ? forever : 1);
    modes.set(key, mode);
    many.set(key, alike ? Math.min(many.get(key) ?? forever, Math.floor(limit / weight)) : 1);
  }
  return many;
}

/** Counts how often each key has come, from 0. */
function counter(): (key: string) => number {
  const counts = new Map<string, number>();
  return (key) => {
    const count = counts.get(key) ?? 0;
    counts.set(key, count + 1);
    return count;
  };
}

interface Turn {
  lanes: unknown[];
  run(): Promise<void>;
}

/** Runs turns side by side, up to `concurrency` at a time; those that share a lane one after another, in their order. */
async function inLanes(turns: readonly Turn[], concurrency: number): Promise<void> {
  const last = new Map<unknown, Promise<void>>();
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
