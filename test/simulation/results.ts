import { decodeResult } from "../../src/single-flight/result.ts";
import type { Referee } from "./referee.ts";
import type { Server, StoredResult } from "./server.ts";
import type { Timeline } from "./timeline.ts";

/** What comes of work. */
export interface Outcome {
  /** Who worked. */
  by: string;
  padding: string;
}

/** A result that was kept. */
interface Kept extends Outcome {
  key: string;
  at: number;
}

/** In ms: how much later than it should one may be let in or told, for events come in some order. */
const slack = 50;

/** What must never happen to results, whatever else does. */
export class Results {
  readonly #timeline: Timeline;
  readonly #server: Server;
  readonly #referee: Referee;
  readonly #kept: Kept[] = [];
  /** For how long those who work keep what comes of it. */
  readonly #keepFor = new Map<string, number>();

  constructor(timeline: Timeline, server: Server, referee: Referee) {
    this.#timeline = timeline;
    this.#server = server;
    this.#referee = referee;
    server.onResult = (result) => this.#stores(result);
  }

  #stores({ key, text, holder }: StoredResult): void {
    const outcome = decodeResult(text).value as Outcome;
    this.#kept.push({ ...outcome, key, at: this.#timeline.now });
    if (holder !== outcome.by)
      this.#referee.fail(`the result of ${outcome.by} was stored while ${holder} had the lock`);
  }

  /** Nobody works within the time of a result. */
  begins(name: string, keepFor: number): void {
    this.#keepFor.set(name, keepFor);
    const admitted = this.#server.occupations.findLast((each) => each.name === name)?.admitted;
    if (admitted === undefined) return;
    const there = this.#kept.find(
      ({ by, at }) => by !== name && at < admitted && admitted < at + this.#lasts(by) - slack,
    );
    if (there) this.#referee.fail(`${name} was let in to work while the result of ${there.by} was kept`);
  }

  /** Somebody was given the result of another. */
  gives(
    name: string,
    { by, padding }: Outcome,
    { asked, tellsTime }: { asked: number; tellsTime: boolean },
  ): void {
    const kept = this.#kept.filter((each) => each.by === by && each.padding === padding);
    if (kept.length === 0) this.#referee.fail(`${name} was given a result of ${by} that was never kept`);
    else if (tellsTime && !kept.some(({ at }) => asked <= at + this.#lasts(by) + slack))
      this.#referee.fail(`${name} asked when the result of ${by} was over, and was given it`);
  }

  /**
   * Somebody has worked, and was told that all went well.
   * @param took in ms, how long it took to be told. After `keepFor` nobody knows whether it was kept
   */
  succeeds(name: string, took: number): void {
    if (took < this.#lasts(name) * 0.95 && !this.#isKept(name))
      this.#referee.fail(`${name} was told of success, and its result was not kept`);
  }

  /** Somebody has worked, and was told that it had lost the lock. */
  loses(name: string): void {
    if (this.#isKept(name))
      this.#referee.fail(`${name} was told that it had lost the lock, and its result was kept`);
  }

  #isKept(name: string): boolean {
    return this.#kept.some(({ by }) => by === name);
  }

  #lasts(name: string): number {
    return this.#keepFor.get(name) ?? 0;
  }
}
