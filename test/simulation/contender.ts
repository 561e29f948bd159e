import type { LockOptions } from "../../src/index.ts";
import { sleep } from "../../src/runtime.ts";
import type { Library } from "./library.ts";
import { type Part, patient } from "./plan.ts";
import type { SimulatedProcess } from "./process.ts";
import type { Referee } from "./referee.ts";
import { lockKey, type Server } from "./server.ts";
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
}

type Locker = ReturnType<Library["newLocker"]>;

/** One that asks through the package, works, and lets go. Its verdict is checked when all is over. */
export class Contender {
  readonly #around: Surroundings;
  readonly #process: SimulatedProcess;
  readonly #part: Part;
  readonly #name: string;
  readonly #abort = new AbortController();
  #verdict: Verdict | undefined;
  #finished = false;
  #waits = false;

  constructor(around: Surroundings, process: SimulatedProcess, locker: Locker, part: Part, name: string) {
    this.#around = around;
    this.#process = process;
    this.#part = part;
    this.#name = name;
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
      (this.#verdict === "unavailable" && !this.#around.undisturbed(this.#process));
    if (this.#process.gone || (this.#finished && fits)) return;
    const verdict = this.#finished ? this.#verdict : "nothing";
    this.#around.referee.fail(`${this.#name} was to wait for ${wait} ms and was told ${verdict}`);
  }

  #giveUp(): void {
    this.#around.log(`${this.#name} is aborted`);
    this.#abort.abort(new Error("aborted"));
  }

  async #run(locker: Locker): Promise<void> {
    const { library, timeline, log, referee, tally } = this.#around;
    const { signal } = this.#abort;
    const { wait, ttl, renew, fencing, holdFor } = this.#part;
    const name = this.#name;
    const asked = timeline.now;
    const self = this;
    const options: LockOptions = {
      ...{ wait, ttl, renew, fencing, holdFor, owner: name, signal, requestTimeout: 1000 },
      onEvent(event) {
        if (event.type === "acquired" && event.granted) tally.count("handedOver");
        if (event.type !== "waiting") return;
        tally.count("timesWaiting");
        self.#waits = true;
      },
    };
    let lock: Awaited<ReturnType<Locker["acquire"]>>;
    try {
      lock = await locker.acquire("k", options);
    } catch (error) {
      if (error instanceof library.LockBusyError) {
        this.#verdict = "busy";
        referee.answeredBusy(name, asked, error.owner);
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
    const process = this.#process;
    const remaining = () => lock.remaining / process.speed;
    const forget = referee.believes({ name, process, remaining }, lock.fence);
    await this.#work(lock);
    forget();
    await this.#release(lock);
  }

  async #work(lock: Awaited<ReturnType<Locker["acquire"]>>): Promise<void> {
    const { work, ttl } = this.#part;
    // An extension that a network repeats after a longer one was answered would shorten that one's lease.
    const extendTo = Math.min(this.#part.extendTo, this.#around.repeats ? ttl : Number.POSITIVE_INFINITY);
    const { runtime } = this.#process;
    const half = () => sleep(runtime, work / 2, lock.signal).catch(() => {});
    await half();
    if (extendTo) {
      const extended = await lock.extend(extendTo).catch((error) => this.#expectUnavailable(error));
      this.#around.log(`${this.#name} extends it to ${extendTo} ms: ${extended}`);
      this.#around.tally.count("extensions");
    }
    await half();
  }

  async #release(lock: Awaited<ReturnType<Locker["acquire"]>>): Promise<void> {
    const { referee, tally, log } = this.#around;
    // Much longer than a request takes.
    const sure = lock.remaining > 200 && this.#around.undisturbed(this.#process);
    log(`${this.#name} releases it`);
    const ours = await lock.release().catch((error) => this.#expectUnavailable(error));
    if (ours !== undefined) tally.count(ours ? "released" : "foundLost");
    this.#leave();
    if (this.#abort.signal.aborted) return;
    // Deleted under it, the lock may have come to it once more.
    if (sure && !ours && !referee.robbed(this.#name))
      referee.fail(`${this.#name} released its lock and was told ${ours}`);
  }

  #expectUnavailable(error: unknown): undefined {
    if (!(error instanceof this.#around.library.LockUnavailableError))
      this.#around.referee.fail(`${this.#name} met ${error}`);
  }

  #leave(): void {
    if (this.#around.undisturbed(this.#process)) this.#around.referee.isDone(this.#name);
  }

  /** Where nothing disturbs it, a busy contender waits as long as it was told to and no longer. */
  #checkPunctuality(waited: number): void {
    const { wait } = this.#part;
    if (!this.#around.undisturbed(this.#process)) return;
    // Its clocks may be a little fast, and each of three requests may take 80 ms.
    if (waited < wait * 0.99 || waited > wait * 1.01 + 300)
      this.#around.referee.fail(`${this.#name} was to wait for ${wait} ms and waited for ${waited} ms`);
  }
}

/** A client that knows nothing of us. It asks past all faults: what matters is that it excludes, and is excluded. */
export function contendAsForeigner(
  { server, timeline, referee, tally, log }: Surroundings,
  process: SimulatedProcess,
  { start, ttl, work }: Part,
  name: string,
): void {
  const begin = async () => {
    if ((await server.ask("SET", lockKey, name, "NX", "PX", ttl)) !== "OK") return;
    log(`${name}, a foreigner, holds it`);
    tally.count("foreigners");
    const until = timeline.now + ttl;
    const forget = referee.believes({ name, process, remaining: () => until - timeline.now });
    const end = async () => {
      forget();
      if ((await server.ask("GET", lockKey)) === name) await server.ask("DEL", lockKey);
    };
    timeline.schedule(Math.min(work, ttl), end, process);
  };
  timeline.schedule(start, begin, process);
}
