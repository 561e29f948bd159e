import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import type { Batch, Failure, Outcome } from "./batch.ts";
import { type EngineName, type Kind, kinds } from "./plan.ts";
import { Tally } from "./tally.ts";

export interface Run extends Omit<Batch, "kind"> {
  /** What is locked in the histories, batch by batch in turn. @default all kinds */
  kinds?: readonly Kind[] | undefined;
  /** No more histories are begun after this. */
  minutes?: number | undefined;
  /** A bundle of `entry.ts`; by default src/ as it is. */
  file?: string | undefined;
  /** What the histories run on, each as often as it is named. */
  engines?: EngineName[] | undefined;
  /** @default as many as there are processors */
  workers?: number | undefined;
  onProgress?: (counts: Record<string, number>) => void;
}

export interface Summary {
  counts: Record<string, number>;
  minutes: number;
  failure: Failure | undefined;
}

/** One in five on the real scripts: playing it there takes some five times as long. */
const mostlyModel: EngineName[] = ["real", "model", "model", "model", "model"];

const batchSize = 100;

/** Then a process makes room for another: one that had played 180,000 histories was half as fast as at first. */
const batchesOfWorker = 100;

/**
 * Plays histories in several processes, until one fails. Which they are follows from the seed and their number, not
 * from how many processes there are.
 */
export async function playHistories(run: Run): Promise<Summary> {
  const { engines = mostlyModel, file, minutes = Number.POSITIVE_INFINITY } = run;
  const started = performance.now();
  const passed = () => (performance.now() - started) / 60_000;
  const batches = run.path
    ? [{ seed: run.seed, kind: kindOf(run, run.seed), histories: 1, path: run.path }].values()
    : batchesOf(run);
  const tally = new Tally();
  let failure: Failure | undefined;

  /** Resolves to whether there is more to play, by another process. */
  async function playInOne(): Promise<boolean> {
    const settings = JSON.stringify({ engines, file });
    const worker = fork(new URL("worker.ts", import.meta.url), [settings], { execArgv: [] });
    try {
      await answer(worker);
      for (let played = 0; played < batchesOfWorker; played++) {
        const { value: batch } = batches.next();
        if (!batch || failure || passed() >= minutes) return false;
        worker.send(batch);
        const outcome = (await answer(worker)) as Outcome;
        if (failure) return false;
        failure = outcome.failure;
        tally.add(outcome.counts);
        run.onProgress?.(tally.counts);
      }
      return true;
    } finally {
      worker.kill();
    }
  }

  async function work(): Promise<void> {
    while (await playInOne());
  }

  const workers = run.path ? 1 : (run.workers ?? availableParallelism());
  await Promise.all(Array.from({ length: workers }, work));
  return { counts: tally.counts, minutes: passed(), failure };
}

function* batchesOf(run: Run): Generator<Batch> {
  const { histories, shrink } = run;
  for (let played = 0; played < histories; played += batchSize) {
    const seed = run.seed + played / batchSize;
    yield { seed, kind: kindOf(run, seed), histories: Math.min(batchSize, histories - played), shrink };
  }
}

/** The seed alone decides it, so that a seed and a path name a history. */
function kindOf(run: Run, seed: number): Kind | undefined {
  const some = run.kinds ?? kinds;
  return some[seed % some.length];
}

async function answer(worker: ChildProcess): Promise<unknown> {
  const over = new AbortController();
  const ended = once(worker, "exit", { signal: over.signal }).then(([code, signal]) => {
    throw new Error(`a process that plays histories has ended (${signal ?? code})`);
  });
  const message = once(worker, "message", { signal: over.signal }).then(([message]) => message);
  return Promise.race([message, ended]).finally(() => over.abort());
}
