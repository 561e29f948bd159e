import type { Lock, LockEvent, LockOptions, Target } from "../../src/index.ts";
import { readTargets } from "../../src/options/targets.ts";
import { sleep } from "../../src/runtime.ts";
import type { Library } from "./library.ts";
import { type Part, patient } from "./plan.ts";
import type { SimulatedProcess } from "./process.ts";
import type { Referee } from "./referee.ts";
import { redisKeyOf, type Server, type Share } from "./server.ts";
import type { Tally } from "./tally.ts";
import type { Timeline } from "./timeline.ts";

type Verdict = "held" | "busy" | "unavailable" | "aborted";

/** All that a contender is in the middle of. */
export interface Surroundings {
  library: Library;
  timeline: Timeline;
  server: Server;
  referee: Referee;
  tally: Tally;
  log(text: string): void;
  /** Whether a request that was answered may be executed once more. */
  repeats: boolean;
  /** Whether nothing goes wrong between this process and the server, nor with either of them. */
  undisturbed(process: SimulatedProcess): boolean;
  /** Whether this process and the server know how long ago something was. */
  tellsTime(process: SimulatedProcess): boolean;
}

type Locker = ReturnType<Library["newLocker"]>;

/** A process, and its way to the locks. */
interface Place {
  process: SimulatedProcess;
  locker: Locker;
}

interface Entrant extends Place {
  part: Part;
  name: string;
  /** Who goes on with its work by the lock's handle. */
  heir: Place | undefined;
}

/** How long a handle is on its way, in ms. */
const handleTakes = 20;

/** One that asks through the package, works, and lets go. Its verdict is checked when all is over. */
export class Contender {
  readonly #around: Surroundings;
  readonly #part: Part;
  readonly #targets: readonly Target[];
  readonly #heir: Place | undefined;
  readonly #abort = new AbortController();
  readonly name: string;
  /** What it asks for; once it has made its locks shared ones, these. */
  shares: readonly Share[];
  /** Where it works. */
  #process: SimulatedProcess;
  /** Whether something might go wrong with a process that had its lock. */
  #disturbed = false;
  #verdict: Verdict | undefined;
  #finished = false;
  #waits = false;
  #resumed = false;

  constructor(around: Surroundings, { process, locker, part, name, heir }: Entrant) {
    this.#around = around;
    this.#process = process;
    this.#part = part;
    this.#targets = part.targets ?? ["k"];
    this.#heir = heir;
    this.name = name;
    this.shares = sharesOf(this.#targets);
    const { timeline } = around;
    const run = async () => {
      await this.#run(locker);
      this.#finished = true;
    };
    timeline.schedule(part.start, () => void run(), process);
    if (part.abortAfter !== undefined)
      timeline.schedule(part.start + part.abortAfter, () => this.#giveUp(), process);
  }

  /** Whether it is alive, stands in the queue, and will go on to. */
  get waits(): boolean {
    return this.#waits && this.#verdict === undefined && !this.#abort.signal.aborted && this.#process.running;
  }

  /** What it was told has to fit what happened to it. */
  check(): void {
    const { wait } = this.#part;
    const fits =
      this.#abort.signal.aborted ||
      this.#verdict === "held" ||
      (this.#verdict === "busy" && wait < patient) ||
      // Of several locks those that were deleted while it waited for the others are lost.
      (this.#verdict === "unavailable" && !(this.#undisturbed && !this.#around.referee.robbed(this.name)));
    if (this.#process.gone || (this.#finished && fits)) return;
    const verdict = this.#finished ? this.#verdict : "nothing";
    this.#around.referee.fail(`${this.name} was to wait for ${wait} ms and was told ${verdict}`);
  }

  get #undisturbed(): boolean {
    return !this.#disturbed && this.#around.undisturbed(this.#process);
  }

  #giveUp(): void {
    this.#around.log(`${this.name} is aborted`);
    this.#abort.abort(new Error("aborted"));
  }

  async #run(locker: Locker): Promise<void> {
    const { library, timeline, log, referee, tally } = this.#around;
    const { signal } = this.#abort;
    const { wait, ttl, holdFor } = this.#part;
    // Two would renew it.
    const renew = this.#part.renew && !this.#heir;
    // A permit or a reader draws none.
    const fencing = this.#part.fencing && this.shares.every(({ mode }) => mode === "x" || mode === "1");
    const { name, shares } = this;
    const asked = timeline.now;
    if (this.#around.tellsTime(this.#process)) referee.asks(name);
    const options: LockOptions = {
      ...{ wait, ttl, renew, fencing, holdFor, owner: name, signal, requestTimeout: 1000 },
      onEvent: (event) => this.#note(event),
    };
    const [only, ...others] = this.#targets;
    let lock: Lock;
    try {
      lock = await locker.acquire(others.length || !only ? this.#targets : only, options);
    } catch (error) {
      if (error instanceof library.LockBusyError) {
        this.#verdict = "busy";
        referee.answeredBusy(name, shares, asked, error.owner);
        this.#checkPunctuality(timeline.now - asked);
      } else if (error === signal.reason) {
        this.#verdict = "aborted";
      } else {
        this.#verdict = "unavailable";
        this.#expectUnavailable(error);
      }
      tally.count(this.#verdict);
      this.#leave();
      return log(`${name} is told ${this.#verdict}`);
    }
    this.#verdict = "held";
    tally.count("held");
    log(`${name} holds it for ${Math.round(lock.remaining)} ms`);
    if (others.length) tally.count("several");
    if (others.length && this.#waits) tally.count("severalAfterWaiting");
    let forget = this.#believe(lock, lock.fence);
    await this.#workHalf(lock);
    await this.#extend(lock);
    if (this.#part.downgrade && shares.every(({ mode }) => mode === "x")) await this.#downgrade(lock);
    if (this.#heir) {
      forget();
      lock = await this.#handOn(lock, this.#heir);
      forget = this.#believe(lock);
    }
    await this.#workHalf(lock);
    forget();
    await this.#release(lock);
    this.#checkLoss(lock);
  }

  /** Whose lock an operator ended is told so, whatever it asks then. */
  #checkLoss({ signal }: Lock): void {
    const { library, referee, tally } = this.#around;
    if (!(signal.reason instanceof library.LockLostError)) return;
    const { message } = signal.reason;
    if (message.includes("an operator ended it")) tally.count("toldOfTheOperator");
    const others = message.includes("another has it") && !this.#resumed && !referee.robbed(this.name);
    if (others && referee.wasEnded(this.name))
      referee.fail(`an operator ended the lock of ${this.name}, which was told: ${message}`);
  }

  #note(event: LockEvent): void {
    const { tally } = this.#around;
    if (event.type === "acquired" && event.granted) tally.count("handedOver");
    if (event.type === "released" && event.kept) tally.count("kept");
    if (event.type !== "waiting") return;
    tally.count("timesWaiting");
    this.#waits = true;
  }

  /** @returns to be called when it does not believe so any more */
  #believe(lock: Lock, fence?: number): () => void {
    const process = this.#process;
    const remaining = () => lock.remaining / process.speed;
    // A lock that was resumed may turn out to be lost, and so may one that was extended.
    if (fence === undefined && !lock.held && this.#resumed) return () => {};
    return this.#around.referee.believes(
      { name: this.name, process, remaining, shares: () => this.shares },
      fence,
    );
  }

  async #workHalf(lock: Lock): Promise<void> {
    await sleep(this.#process.runtime, this.#part.work / 2, lock.signal).catch(() => {});
  }

  async #extend(lock: Lock): Promise<void> {
    const { ttl } = this.#part;
    const wanted = this.#part.extendTo;
    if (!wanted) return;
    // An extension that a network repeats after a longer one was answered would shorten that one's lease. By a handle the
    // lease is `ttl` again.
    const { repeats } = this.#around;
    const least = repeats && this.#heir ? ttl : 0;
    const extendTo = Math.max(least, Math.min(wanted, repeats ? ttl : Number.POSITIVE_INFINITY));
    const extended = await lock.extend(extendTo).catch((error) => this.#expectUnavailable(error));
    this.#around.log(`${this.name} extends it to ${extendTo} ms: ${extended}`);
    this.#around.tally.count("extensions");
  }

  async #downgrade(lock: Lock): Promise<void> {
    // Whatever is answered: from now on others may be let in.
    const shared = this.shares.map((share) => ({ ...share, mode: "s" }));
    this.shares = shared.map((share) => ({ ...share, unsettled: true }));
    this.#around.log(`${this.name} makes it a shared one`);
    const done = await lock.downgrade().catch((error) => this.#expectUnavailable(error));
    if (!done) return;
    this.shares = shared;
    this.#around.tally.count("downgrades");
  }

  /** The lock, as the process that goes on with the work knows it. */
  async #handOn(lock: Lock, { process, locker }: Place): Promise<Lock> {
    const { timeline, tally, log } = this.#around;
    const { signal } = this.#abort;
    const { renew, holdFor } = this.#part;
    const handle = JSON.stringify(lock);
    this.#disturbed ||= !this.#around.undisturbed(this.#process);
    this.#process = process;
    await new Promise<void>((resolve) => {
      timeline.schedule(handleTakes, resolve, process);
    });
    const options = { renew, holdFor, signal, requestTimeout: 1000 };
    const resumed = locker.resume(handle, { ...options, onEvent: (event) => this.#note(event) });
    this.#resumed = true;
    // A lock that was lost meanwhile may have come to it once more, as it was first asked for.
    this.shares = this.shares.map((share) => ({ ...share, unsettled: true }));
    const ours = await resumed.extend().catch((error) => this.#expectUnavailable(error));
    log(`${this.name} is resumed by another process: ${ours}`);
    if (ours) tally.count("resumed");
    return resumed;
  }

  async #release(lock: Lock): Promise<void> {
    const { referee, tally, log } = this.#around;
    // Much longer than a request takes.
    const sure = lock.remaining > 200 && this.#undisturbed;
    log(`${this.name} releases it`);
    const ours = await lock.release().catch((error) => this.#expectUnavailable(error));
    if (ours !== undefined) tally.count(ours ? "released" : "foundLost");
    this.#leave();
    if (this.#abort.signal.aborted) return;
    // Deleted under it, the lock may have come to it once more.
    if (sure && !ours && !referee.robbed(this.name) && !referee.wasEnded(this.name))
      referee.fail(`${this.name} released its lock and was told ${ours}`);
  }

  #expectUnavailable(error: unknown): undefined {
    if (!(error instanceof this.#around.library.LockUnavailableError))
      this.#around.referee.fail(`${this.name} met ${error}`);
  }

  #leave(): void {
    if (this.#undisturbed) this.#around.referee.isDone(this.name);
  }

  /** Where nothing disturbs it, a busy contender waits as long as it was told to and no longer. */
  #checkPunctuality(waited: number): void {
    const { wait } = this.#part;
    if (!this.#undisturbed) return;
    // Its clocks may be a little fast, and each of three requests may take 80 ms.
    if (waited < wait * 0.99 || waited > wait * 1.01 + 300)
      this.#around.referee.fail(`${this.name} was to wait for ${wait} ms and waited for ${waited} ms`);
  }
}

/** A client that knows nothing of us. It asks past all faults: what matters is that it excludes, and is excluded. */
export function contendAsForeigner(
  { server, timeline, referee, tally, log }: Surroundings,
  process: SimulatedProcess,
  { start, ttl, work, targets = ["k"] }: Part,
  name: string,
): void {
  const [{ key = "" } = {}] = sharesOf(targets);
  const shares = () => [{ key, mode: "x", weight: 1 }];
  const begin = async () => {
    if ((await server.ask("SET", key, name, "NX", "PX", ttl)) !== "OK") return;
    log(`${name}, a foreigner, holds it`);
    tally.count("foreigners");
    const until = timeline.now + ttl;
    const forget = referee.believes({ name, process, remaining: () => until - timeline.now, shares });
    const end = async () => {
      forget();
      if ((await server.ask("GET", key)) === name) await server.ask("DEL", key);
    };
    timeline.schedule(Math.min(work, ttl), end, process);
  };
  timeline.schedule(start, begin, process);
}

function sharesOf(targets: readonly Target[]): Share[] {
  return readTargets(targets).map(({ key, mode, weight }) => ({ key: redisKeyOf(key), mode, weight }));
}
