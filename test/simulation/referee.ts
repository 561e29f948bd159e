import { pollLaterPerPlace } from "../../src/protocol/timing.ts";
import type { SimulatedProcess } from "./process.ts";
import type { Server } from "./server.ts";
import type { Timeline } from "./timeline.ts";

/** Who believes to hold the lock. */
interface Holder {
  name: string;
  process: SimulatedProcess;
  /** How many ms of true time it can be sure to hold it, as it believes. */
  remaining(): number;
}

/** In ms: some requests, one after the other. */
const timeToCleanUp = 1000;

/**
 * In ms: for how long a lock may be free while somebody waits for it, once nothing goes wrong any more. As long as the
 * ninth waiter, the last of a history, pauses between two requests, which are two round trips of 80 ms beside.
 */
const longestFree = 9 * pollLaterPerPlace + 160;

/** What must never happen, whatever else does. */
export class Referee {
  /** The first thing seen that must not happen. */
  violation: string | undefined;
  readonly #timeline: Timeline;
  readonly #server: Server;
  readonly #holders = new Set<Holder>();
  /** Those whose lock was deleted under them: the server has it no more, and they cannot know yet. */
  readonly #robbed = new Set<string>();
  /** Since when those are done who have no business at the lock any more. */
  readonly #done = new Map<string, number>();
  #highestFence = 0;
  /** Since when nothing has gone wrong, and somebody has waited all the time. */
  #waitedForSince = Number.POSITIVE_INFINITY;

  constructor(timeline: Timeline, server: Server) {
    this.#timeline = timeline;
    this.#server = server;
  }

  fail(what: string): void {
    this.violation ??= `${what}, at ${this.#timeline.now} ms`;
  }

  readonly check = (): void => {
    const { now } = this.#timeline;
    const sure = [...this.#holders].filter(({ process, remaining }) => process.running && remaining() > 0);
    if (sure.length > 1) this.fail(`${sure.map(({ name }) => name).join(" and ")} both hold the lock`);
    const { occupation } = this.#server;
    for (const { name, remaining } of sure) {
      if (occupation?.name !== name)
        this.fail(`${name} holds a lock that the server has given to ${occupation?.name ?? "nobody"}`);
      else if (now + remaining() > occupation.until)
        this.fail(`${name} relies on the lock for longer than the server keeps it`);
    }
    const { name = "" } = occupation ?? {};
    if (now > (this.#done.get(name) ?? Number.POSITIVE_INFINITY) + timeToCleanUp)
      this.fail(`${name} was done, and the lock is still its`);
  };

  /**
   * Once the last fault is over, a live waiter is served as soon as the lock is free.
   * @param waits whether one that lives waits, and nothing goes wrong any more
   */
  checkLiveness(waits: boolean): void {
    const { now } = this.#timeline;
    const last = this.#server.occupations.at(-1);
    const taken = last !== undefined && last.until > now;
    const before = taken ? this.#server.occupations.at(-2) : last;
    const freeSince = Math.max(this.#waitedForSince, before?.until ?? 0);
    const freeUntil = taken ? last.from : now;
    if (freeUntil - freeSince > longestFree)
      this.fail(`the lock was free for more than ${longestFree} ms while somebody waited`);
    if (!waits) this.#waitedForSince = Number.POSITIVE_INFINITY;
    else if (this.#waitedForSince > now) this.#waitedForSince = now;
  }

  robs(name: string): void {
    this.#robbed.add(name);
    for (const holder of this.#holders) if (holder.name === name) this.#holders.delete(holder);
  }

  robbed(name: string): boolean {
    return this.#robbed.has(name);
  }

  /** It has an answer other than the lock, or has released it, and nothing keeps it from cleaning up. */
  isDone(name: string): void {
    this.#done.set(name, this.#timeline.now);
  }

  /** @returns to be called when it does not believe so any more */
  believes({ name, process, remaining }: Holder, fence?: number): () => void {
    if (remaining() <= 0) this.fail(`${name} was given a lock that it does not hold`);
    if (this.robbed(name)) return () => {};
    if (fence !== undefined) {
      if (fence <= this.#highestFence) this.fail(`${name} has the fencing token of one before`);
      this.#highestFence = fence;
    }
    const holder = { name, process, remaining };
    this.#holders.add(holder);
    return () => this.#holders.delete(holder);
  }

  /** Busy is an answer only if another was there between the question and the answer. */
  answeredBusy(name: string, asked: number, owner: string | undefined): void {
    const others = this.#server.occupations.filter((each) => each.name !== name && each.until > asked);
    if (others.length === 0) this.fail(`${name} was told "busy", and nobody else had the lock`);
    if (owner !== undefined && !this.#server.occupations.some((each) => each.name === owner))
      this.fail(`${name} was told of a holder that never was`);
  }
}
