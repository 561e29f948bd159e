import { pollLaterPerPlace } from "../../src/protocol/timing.ts";
import type { SimulatedProcess } from "./process.ts";
import { fits, kindOf, type Occupation, type Server, type Share } from "./server.ts";
import type { Timeline } from "./timeline.ts";

/** Who believes to hold locks. */
interface Believer {
  name: string;
  process: SimulatedProcess;
  /** How many ms of true time it can be sure to hold them, as it believes. */
  remaining(): number;
  /** What it holds. */
  shares(): readonly Share[];
}

/** Who waits for a lock that it could have. */
interface Admissible {
  name: string;
  share: Share;
  /** Who was there when it was last looked at. */
  there: readonly Occupation[];
  /** Since when it could have it; Infinity while it cannot. */
  since: number;
}

/** A stay in a queue. */
interface Stay {
  name: string;
  beside: boolean;
  from: number;
  /** When it was last seen there. */
  until: number;
  /** Whether it still is. */
  stands: boolean;
}

/** In ms: some requests, one after the other. */
const timeToCleanUp = 1000;

/**
 * In ms: for how long a lock may be kept from the first live waiter that fits, once nothing goes wrong any more. As
 * long as the ninth waiter, the last of a history, pauses between two requests, which are two round trips of 80 ms
 * beside.
 */
const longestFree = 9 * pollLaterPerPlace + 160;

/** In ms: by how much a clock that is 0.9 % fast may be wrong on how long ago one asked, and by how much one may be late. */
const roughly = 150;

/** What must never happen, whatever else does. */
export class Referee {
  /** The first thing seen that must not happen. */
  violation: string | undefined;
  readonly #timeline: Timeline;
  readonly #server: Server;
  readonly #believers = new Set<Believer>();
  /** Those whose locks were deleted under them: the server has them no more, and they cannot know yet. */
  readonly #robbed = new Set<string>();
  /** Since when those are done who have no business at the locks any more. */
  readonly #done = new Map<string, number>();
  /** Of each lock. */
  readonly #highestFence = new Map<string, number>();
  /** The first live waiter of each lock, while nothing goes wrong any more. */
  readonly #first = new Map<string, Admissible>();
  /** When somebody stood in the queue of a lock, the last time. */
  readonly #queued = new Map<string, Stay[]>();
  /** When those first asked whose clocks tell how long ago that was. */
  readonly #asked = new Map<string, number>();

  constructor(timeline: Timeline, server: Server) {
    this.#timeline = timeline;
    this.#server = server;
  }

  fail(what: string): void {
    this.violation ??= `${what}, at ${this.#timeline.now} ms`;
  }

  /** Returns how many are sure to hold each of the locks, one beside the other, by their kind. */
  readonly check = (): { mode: string; together: number }[] => {
    for (const name of this.#server.endedNow) this.robs(name);
    for (const wrong of this.#server.letIn) this.fail(wrong);
    const sure = [...this.#believers].filter(({ process, remaining }) => process.running && remaining() > 0);
    return this.#server.keys.map((key) => {
      const present = this.#server.presentAt(key);
      const holding = sure.flatMap((believer) =>
        believer
          .shares()
          .filter((share) => share.key === key)
          .map((share) => this.#agree(believer, share, present)),
      );
      // First by what its holders believe, then by what the server has beside.
      const limit = this.#server.limitAt(key);
      const wrong = clash(holding, limit) ?? clash(present, limit);
      if (wrong) this.fail(wrong);
      for (const each of holding) each.complain();
      this.#checkDone(key, present);
      this.#checkOrder(key, present);
      return { mode: kindOf(holding[0]?.mode ?? "x"), together: holding.length };
    });
  };

  /** A share as its holder believes in it. `complain` tells of what the server thinks of it. */
  #agree(
    { name, remaining }: Believer,
    { key, mode, weight, unsettled }: Share,
    present: readonly Occupation[],
  ) {
    const { now } = this.#timeline;
    const there = present.find((each) => each.name === name);
    return {
      ...{ key, name, mode, weight, admitted: there?.admitted ?? now },
      complain: () => {
        if (!there)
          this.fail(`${name} holds a lock that the server has given to ${present[0]?.name ?? "nobody"}`);
        else if (now + remaining() > there.until)
          this.fail(`${name} relies on the lock for longer than the server keeps it`);
        else if (!unsettled && (there.mode !== mode || there.weight !== weight))
          this.fail(
            `${name} holds ${weight} of ${mode}, and the server has it as ${there.weight} of ${there.mode}`,
          );
      },
    };
  }

  #checkDone(key: string, present: readonly Occupation[]): void {
    const { now } = this.#timeline;
    const longDone = ({ name }: { name: string }) =>
      now > (this.#done.get(name) ?? Number.POSITIVE_INFINITY) + timeToCleanUp;
    const left = present.find(longDone);
    if (left) this.fail(`${left.name} was done, and the lock is still its`);
    const standing = this.#server.queueOf(key).find(longDone);
    if (standing) this.fail(`${standing.name} was done, and still stands in the queue`);
  }

  #noteQueue(key: string): Stay[] {
    const { now } = this.#timeline;
    const stays = this.#queued.get(key) ?? [];
    this.#queued.set(key, stays);
    const queue = this.#server.queueOf(key);
    for (const { name, beside } of queue) {
      const stay = stays.find((each) => each.stands && each.name === name && each.beside === beside);
      if (stay) stay.until = now;
      else stays.push({ name, beside, from: now, until: now, stands: true });
    }
    const standing = stays.filter(({ stands }) => stands);
    for (const stay of standing)
      stay.stands = queue.some(({ name, beside }) => name === stay.name && beside === stay.beside);
    return standing.filter(({ stands, beside }) => stands && !beside);
  }

  /** Nobody passes one that stood in the queue before it first asked. */
  #checkOrder(key: string, present: readonly Occupation[]): void {
    const standing = this.#noteQueue(key);
    if (standing.length === 0) return;
    for (const { name, admitted } of present) {
      const asked = this.#asked.get(name);
      if (admitted < this.#timeline.now || asked === undefined) continue;
      const passed = standing.find(({ from }) => from + roughly < asked);
      if (passed) this.fail(`${name} was let past ${passed.name}`);
    }
  }

  /** Who asks, and whose clocks and server tell how long ago that was. */
  asks(name: string): void {
    this.#asked.set(name, this.#timeline.now);
  }

  /**
   * Once the last fault is over, the first live waiter of each lock gets it as soon as it fits, whatever its weight.
   * @param waiting those that live and wait, and what each asks for; none while something may go wrong
   */
  checkLiveness(waiting: ReadonlyMap<string, readonly Share[]>): void {
    const { now } = this.#timeline;
    for (const key of this.#server.keys) {
      // An operator's word is that others wait.
      if (this.#server.isSteered(key)) {
        this.#first.delete(key);
        continue;
      }
      const before = this.#first.get(key);
      const since = before ? fitsSince(before, now) : Number.POSITIVE_INFINITY;
      if (before && now - since > longestFree)
        this.fail(`the lock was free for more than ${longestFree} ms while ${before.name} waited`);
      const first = this.#firstOf(key, waiting);
      if (!first) {
        this.#first.delete(key);
        continue;
      }
      const there = this.#server.presentAt(key).map((each) => ({ ...each }));
      const sinceNow = first.name === before?.name ? Math.min(since, now) : now;
      const fitting = fits(first, there) ? sinceNow : Number.POSITIVE_INFINITY;
      this.#first.set(key, { name: first.name, share: first, there, since: fitting });
    }
  }

  /** Who waits and has lost its place comes last; of several locks only the one counts in whose queue it stands. */
  #firstOf(key: string, waiting: ReadonlyMap<string, readonly Share[]>) {
    const queued = this.#server.queueOf(key).find(({ name }) => waiting.has(name));
    if (queued) return queued;
    for (const [name, [share, ...others]] of waiting)
      if (share?.key === key && others.length === 0) return { name, ...share };
    return undefined;
  }

  robs(name: string): void {
    this.#robbed.add(name);
    for (const believer of this.#believers) if (believer.name === name) this.#believers.delete(believer);
  }

  /** Whether an operator ended one of its locks, which it keeps until its lease is over. */
  wasEnded(name: string): boolean {
    return this.#server.ended.has(name);
  }

  robbed(name: string): boolean {
    return this.#robbed.has(name);
  }

  /** It has an answer other than the lock, or has released it, and nothing keeps it from cleaning up. */
  isDone(name: string): void {
    this.#done.set(name, this.#timeline.now);
  }

  /** @returns to be called when it does not believe so any more */
  believes(believer: Believer, fence?: number): () => void {
    const { name, remaining, shares } = believer;
    if (remaining() <= 0) this.fail(`${name} was given a lock that it does not hold`);
    if (this.robbed(name)) return () => {};
    if (fence !== undefined)
      for (const { key } of shares()) {
        if (fence <= (this.#highestFence.get(key) ?? 0))
          this.fail(`${name} has the fencing token of one before`);
        this.#highestFence.set(key, fence);
      }
    this.#believers.add(believer);
    return () => this.#believers.delete(believer);
  }

  /**
   * Busy is an answer only if one of the locks could not be had at some time between the question and the answer.
   * @param owner what the answer says of the holder
   */
  answeredBusy(name: string, wanted: readonly Share[], asked: number, owner: string | undefined): void {
    const { occupations } = this.#server;
    const ended = this.#server.ended.has(name) || this.#server.endedNow.has(name);
    if (!ended && !wanted.some((share) => this.#wasTaken(name, share, asked)))
      this.fail(`${name} was told "busy", and nobody else had the lock`);
    if (owner !== undefined && !occupations.some((each) => each.name === owner))
      this.fail(`${name} was told of a holder that never was`);
  }

  /** Whether somebody waited for it, or those who had it left no room. */
  #wasTaken(name: string, share: Share, asked: number): boolean {
    if (this.#server.isSteered(share.key, asked)) return true;
    // One that was there and gone within a millisecond was there at that one.
    const thereAt = ({ from, until }: Occupation, at: number) => from === at || (from < at && until > at);
    const others = this.#server.occupations.filter(
      (each) => each.key === share.key && each.name !== name && (each.from > asked || thereAt(each, asked)),
    );
    const queued = this.#queued.get(share.key) ?? [];
    if (queued.some((each) => each.name !== name && each.until >= asked)) return others.length > 0;
    const moments = [asked, ...others.map(({ from }) => from)].filter((at) => at >= asked);
    return moments.some(
      (at) =>
        !fits(
          share,
          others.filter((each) => thereAt(each, at)),
        ),
    );
  }
}

/** When the first who waits first fits, if nothing happens but that leases end. */
function fitsSince({ share, there, since }: Admissible, now: number): number {
  if (since < Number.POSITIVE_INFINITY) return since;
  const ends = there.map(({ until }) => until).filter((until) => until <= now);
  const room = (at: number) =>
    fits(
      share,
      there.filter(({ until }) => until > at),
    );
  return ends.sort((a, b) => a - b).find(room) ?? Number.POSITIVE_INFINITY;
}

/**
 * What is wrong with these at one lock, if anything is.
 * @param operators the highest limit that an operator has set
 */
function clash(
  holding: readonly (Omit<Share, "key"> & { name: string; admitted: number })[],
  operators: number,
): string | undefined {
  if (holding.length < 2) return undefined;
  const names = holding.map(({ name }) => name).join(" and ");
  const [first] = holding;
  if (holding.some(({ mode }) => mode === "x" || kindOf(mode) !== kindOf(first?.mode ?? "")))
    return `${names} both hold the lock`;
  if (holding.every(({ mode }) => mode === "s")) return undefined;
  // Each was let in by its own limit. In which order those were who came in one step is not known.
  for (const { admitted } of holding) {
    const before = holding.filter((each) => each.admitted <= admitted);
    const limits = before.filter((each) => each.admitted === admitted).map(({ mode }) => Number(mode));
    const sum = before.reduce((total, { weight }) => total + weight, 0);
    if (sum > Math.max(operators, ...limits)) return `${names} hold more permits than there are`;
  }
  return undefined;
}
