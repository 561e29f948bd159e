import { LockBusyError, LockOptionError, show } from "../errors.ts";
import type { HeldLock, Lock } from "../lock.ts";
import { forever, realRuntime } from "../time.ts";
import { endShare } from "./lambda-context.ts";
import { attach, type Guard, type Invocation, type LockTarget, run } from "./run.ts";

/** What the adapters of queues take. Whatever could not be locked goes back to the queue. */
export interface BatchOptions<Item, Rest extends unknown[]> extends LockTarget<[item: Item, ...rest: Rest]> {
  /** How many are processed side by side. @default 10 */
  concurrency?: number | undefined;
  /**
   * Told of each that failed and goes back to the queue; with a `TimeoutError` of one that was still at work when the
   * function's time was nearly over. What it throws or rejects with changes nothing.
   * @default console.error, but not of a `LockBusyError`
   */
  onError?: ((error: unknown, item: Item) => unknown) | undefined;
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
  /** Told once of each, as soon as it is done with; of one that was left out, with no error. */
  settled: (item: Item, failure?: { error: unknown }) => void;
}

/**
 * Checks the batch's own options. What it returns processes a batch, each item under its own lock: those of one key,
 * or one group, in their order, others side by side. It never rejects, and it ends before the function does: what is
 * not begun by then, or still at work, has failed.
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

  const tell = async (error: unknown, item: Item): Promise<void> => {
    try {
      await onError(error, item);
    } catch {}
  };

  return async ({ items, rest, about, groupOf, settled }) => {
    const time = closingTime(about.lifetime);
    const open = new Set(items);
    const working = new Map<Item, HeldLock>();
    const failedGroups = new Set<string | undefined>();

    const succeed = (item: Item) => {
      if (!open.has(item)) return;
      settled(item);
      open.delete(item);
    };
    const fail = (item: Item, error?: unknown) => {
      if (open.delete(item)) settled(item, { error });
      failedGroups.add(groupOf?.(item));
    };

    const makeTurn = async (item: Item): Promise<Turn> => {
      const input: [Item, ...Rest] = [item, ...rest];
      const group = groupOf?.(item);
      let key: string | undefined;
      let noKey: unknown;
      try {
        key = await guard.key(input);
      } catch (error) {
        noKey = error;
      }
      return {
        lanes: [`key ${key}`, ...(group ? [`group ${group}`] : [])],
        async run() {
          if (!open.has(item) || (group && failedGroups.has(group)) || time.isShort()) return fail(item);
          try {
            if (!key) throw noKey;
            const work = (lock: HeldLock) => {
              // It may have waited for its lock, and been handed back meanwhile.
              if (!open.has(item)) throw lateError();
              working.set(item, lock);
              return process(attach(item, lock), ...rest);
            };
            await run(guard, input, about, work, undefined, key);
            succeed(item);
          } catch (error) {
            // Whoever was handed back was told of.
            const told = !open.has(item);
            fail(item, error);
            if (!told) await tell(error, item);
          } finally {
            working.delete(item);
          }
        },
      };
    };

    // All keys are made before any item is processed, which might change another.
    const all = Promise.all(items.map(makeTurn)).then((turns) => inLanes(turns, concurrency));
    await Promise.race([all, time.over]);
    time.forget();
    // These may go on beside whoever gets them again: their leases are left to end by themselves.
    for (const [item, lock] of working) {
      lock.stopRenewing();
      tell(lateError(), item);
    }
    for (const item of open) fail(item);
  };
}

function logged(error: unknown): void {
  if (!(error instanceof LockBusyError)) console.error(error);
}

function lateError(): DOMException {
  return new DOMException("The function's time was nearly over before the work was", "TimeoutError");
}

interface ClosingTime {
  /** Whether too little time is left to begin anything more. */
  isShort(): boolean;
  /** Resolves when it is time to answer. */
  over: Promise<void>;
  /** Ends the timer. */
  forget(): void;
}

/** How often the function's clock is looked at: it may go on while a process stands still. */
const lookEvery = 500;

/** Watches the time a function has left. */
function closingTime(lifetime: () => number = () => forever): ClosingTime {
  const share = endShare(lifetime());
  let forget = () => {};
  const over = new Promise<void>((resolve) => {
    const look = () => {
      const left = lifetime() - share;
      if (left <= 0) resolve();
      else if (left < forever) forget = realRuntime.later(look, Math.min(left, lookEvery));
    };
    look();
  });
  return { isShort: () => lifetime() <= 2 * share, over, forget: () => forget() };
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
