import type { LockEvent, Locker } from "../../src/index.ts";
import { sleep } from "../../src/runtime.ts";
import type { Surroundings } from "./contender.ts";
import { type Part, patient, type ResultPlan } from "./plan.ts";
import type { SimulatedProcess } from "./process.ts";
import type { Outcome, Results } from "./results.ts";
import { lockKey, type Share } from "./server.ts";

type Verdict = "worked" | "given" | "failed" | "lost" | "busy" | "unavailable" | "aborted";

class WorkError extends Error {}

interface Caller {
  process: SimulatedProcess;
  locker: Pick<Locker, "run">;
  part: Part;
  result: ResultPlan;
  name: string;
  results: Results;
}

/** One that asks for the result of work, and works itself if nobody else does. */
export class Flight {
  readonly #around: Surroundings;
  readonly #caller: Caller;
  readonly #abort = new AbortController();
  readonly name: string;
  readonly shares: readonly Share[] = [{ key: lockKey, mode: "x", weight: 1 }];
  #verdict: Verdict | undefined;
  #works = false;
  #waits = false;
  /** Why its result is not kept. */
  #notKept: Error | undefined;

  constructor(around: Surroundings, caller: Caller) {
    this.#around = around;
    this.#caller = caller;
    this.name = caller.name;
    const { part, process } = caller;
    const { timeline } = around;
    timeline.schedule(part.start, () => void this.#run(), process);
    if (part.abortAfter !== undefined)
      timeline.schedule(part.start + part.abortAfter, () => this.#abort.abort(new Error("aborted")), process);
  }

  /** Whether it is alive, stands in the queue, and will go on to. */
  get waits(): boolean {
    const { process } = this.#caller;
    return this.#waits && !this.#works && !this.#verdict && !this.#abort.signal.aborted && process.running;
  }

  /** What it was told has to fit what happened to it. */
  check(): void {
    const { part, process } = this.#caller;
    const { referee, undisturbed } = this.#around;
    const verdict = this.#verdict;
    const fits =
      verdict &&
      (verdict !== "busy" || part.wait < patient || this.#abort.signal.aborted) &&
      (verdict !== "unavailable" || !undisturbed(process) || this.#abort.signal.aborted);
    if (!process.gone && !fits)
      referee.fail(`${this.name} was to wait for ${part.wait} ms and was told ${verdict ?? "nothing"}`);
  }

  async #run(): Promise<void> {
    const { library, referee, tally, timeline, log, tellsTime, undisturbed } = this.#around;
    const { process, locker, part, result, results, name } = this.#caller;
    const { wait, ttl, renew, fencing } = part;
    const { signal } = this.#abort;
    const asked = timeline.now;
    let worked = 0;
    if (tellsTime(process)) referee.asks(name);
    const options = {
      ...{ wait, ttl, renew, fencing, owner: name, signal, requestTimeout: 1000, keepFor: result.keepFor },
      onEvent: ({ type }: LockEvent) => {
        if (type === "waiting") this.#waits = true;
      },
      onError: (error: Error) => {
        this.#notKept = error;
      },
    };
    try {
      const outcome = await library.singleFlight(locker, "k", options, async (lock): Promise<Outcome> => {
        this.#works = true;
        log(`${name} works, and holds the lock for ${Math.round(lock.remaining)} ms`);
        results.begins(name, result.keepFor);
        const remaining = () => lock.remaining / process.speed;
        const forget = referee.believes({ name, process, remaining, shares: () => this.shares }, lock.fence);
        await sleep(process.runtime, part.work, lock.signal).catch(() => {});
        forget();
        worked = timeline.now;
        if (result.fails) throw new WorkError("failed");
        return { by: name, padding: "x".repeat(result.bytes) };
      });
      this.#verdict = this.#works ? "worked" : "given";
      if (outcome.by !== name) results.gives(name, outcome, { asked, tellsTime: tellsTime(process) });
      else if (!this.#works) referee.fail(`${name} was given a result of its own`);
      else if (!this.#notKept) results.succeeds(name, timeline.now - worked);
    } catch (error) {
      this.#verdict = this.#verdictOf(error);
      if (this.#verdict === "lost") results.loses(name);
      if (this.#verdict === "busy") {
        const { owner } = error as { owner?: string };
        referee.answeredBusy(name, this.shares, asked, owner);
      }
    }
    tally.count(this.#verdict);
    log(`${name} was ${this.#verdict}`);
    if (undisturbed(process)) referee.isDone(name);
  }

  #verdictOf(error: unknown): Verdict {
    const { library, referee } = this.#around;
    if (error instanceof WorkError) return "failed";
    if (error instanceof library.LockLostError) return "lost";
    if (error instanceof library.LockBusyError) return "busy";
    if (error === this.#abort.signal.reason) return "aborted";
    if (!(error instanceof library.LockUnavailableError)) referee.fail(`${this.name} met ${error}`);
    return "unavailable";
  }
}
