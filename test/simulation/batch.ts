import fc from "fast-check";
import { createRealEngine } from "./engine.ts";
import { type Library, loadLibrary } from "./library.ts";
import { createModelEngine } from "./model.ts";
import { type EngineName, type Kind, type Plan, plans } from "./plan.ts";
import { play } from "./play.ts";
import { Tally } from "./tally.ts";

/** Some histories that one seed decides. */
export interface Batch {
  seed: number;
  histories: number;
  /** @default "exclusive" */
  kind?: Kind | undefined;
  /** Of one history among them, as a failure names it: only that is played. */
  path?: string | undefined;
  /** Whether to look for a smaller history that fails, too. @default true, but for one that is named */
  shrink?: boolean | undefined;
}

export interface Failure {
  violation: string;
  seed: number;
  path: string;
  /** What failed, made as small as it could be. */
  plan: Plan;
  steps: string[];
}

export interface Outcome {
  counts: Record<string, number>;
  failure?: Failure;
}

/** What it takes to play: made once, used for all batches of a process. */
export interface Player {
  play(batch: Batch): Promise<Outcome>;
}

/**
 * @param engines what the histories run on, each as often as it is named
 * @param file a bundle of `entry.ts`; by default src/ as it is
 */
export async function createPlayer(engines: EngineName[], file?: string): Promise<Player> {
  const library: Library = await loadLibrary(file);
  const all = { real: await createRealEngine(), model: createModelEngine() };
  let stray: unknown;
  process.on("unhandledRejection", (reason) => {
    stray ??= reason;
  });

  async function playOne(
    plan: Plan,
    tally: Tally,
    log?: (step: string) => void,
  ): Promise<string | undefined> {
    stray = undefined;
    tally.count(plan.engine === "real" ? "onRealScripts" : "onModel");
    const violation = await play(plan, library, all[plan.engine], tally, log);
    return violation ?? (stray === undefined ? undefined : `a rejection that nobody handled: ${stray}`);
  }

  return {
    async play({ seed, histories, kind, path, shrink = !path }) {
      const total = new Tally();
      let failed = false;
      const property = fc.asyncProperty(plans(engines, kind), async (plan) => {
        const tally = new Tally();
        const violation = await playOne(plan, tally);
        // What is played to find a smaller one that fails does not count.
        if (!failed) total.add(tally.counts);
        failed ||= violation !== undefined;
        if (violation) throw new Error(violation);
      });
      const result = await fc.check(property, {
        ...{ seed, numRuns: histories, endOnFailure: !shrink },
        ...(path && { path }),
      });
      const { counts } = total;
      if (!result.failed) return { counts };
      const [plan] = result.counterexample ?? [];
      if (!plan) throw result.errorInstance;
      const steps: string[] = [];
      const violation = await playOne(plan, new Tally(), (step) => steps.push(step));
      const first = (result.errorInstance as Error).message;
      if (violation !== first) throw new Error(`played again, "${first}" came out as "${violation}"`);
      return { counts, failure: { violation, seed, path: result.counterexamplePath ?? "", plan, steps } };
    },
  };
}

/** What to read of a failure, and how to see it again. */
export function describe({ violation, seed, path, plan, steps }: Failure): string {
  return [
    violation,
    JSON.stringify(plan),
    ...steps,
    violation,
    `To play it again: the same once more with seed ${seed} and path ${path} (kind ${plan.kind ?? "exclusive"})`,
  ].join("\n");
}
