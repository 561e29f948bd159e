import type { RedisClient } from "../../src/redis/client.ts";
import type { Runtime } from "../../src/runtime.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { Due, Owner, Timeline } from "./timeline.ts";

const epoch = Date.UTC(2026, 0, 1);

/** A process with clocks of its own; frozen it does nothing, crashed nothing any more. */
export class SimulatedProcess implements Owner {
  gone = false;
  frozenUntil = 0;
  /** Its requests and what comes back get lost until then. */
  offlineUntil = 0;
  /** Its clocks' speed against true time. */
  readonly speed: number;
  readonly #timeline: Timeline;
  readonly #timers = new Set<Due>();
  #wallOffset = 0;
  /** For how long its monotonic clock stood still. */
  #stood = 0;
  readonly runtime: Runtime;
  readonly client: RedisClient;

  /** @param speed of its clocks; a lease allows for 1 % of difference */
  constructor(
    timeline: Timeline,
    random: Random,
    network: Network,
    { speed, resends }: { speed: number; resends: boolean },
  ) {
    this.#timeline = timeline;
    this.speed = speed;
    this.runtime = {
      sinceNow: () => {
        const wall = this.#wall;
        const mono = this.#mono;
        return () => Math.max(this.#wall - wall, this.#mono - mono);
      },
      wallClock: () => this.#wall,
      later: (callback, ms) => {
        const fire = () => {
          this.#timers.delete(timer);
          callback();
        };
        const timer = timeline.schedule(Math.max(1, ms) / speed, fire, this);
        this.#timers.add(timer);
        return () => {
          timer.cancelled = true;
          this.#timers.delete(timer);
        };
      },
      random: () => random.next(),
      token: () => random.token(),
    };
    this.client = network.clientOf(this, resends);
  }

  get #wall(): number {
    return Math.floor(epoch + this.#timeline.now * this.speed + this.#wallOffset);
  }

  get #mono(): number {
    return this.#timeline.now * this.speed - this.#stood;
  }

  get running(): boolean {
    return !this.gone && this.frozenUntil <= this.#timeline.now;
  }

  get online(): boolean {
    return this.offlineUntil <= this.#timeline.now;
  }

  crash(): void {
    this.gone = true;
  }

  freeze(ms: number): void {
    if (!this.running) return;
    this.frozenUntil = this.#timeline.now + ms;
    // Whatever it believes when it is thawed is to be looked at.
    this.#timeline.schedule(ms, () => {}, this);
  }

  /** Frozen with its machine: the monotonic clock, and with it all timers, stand still. */
  suspend(ms: number): void {
    if (!this.running) return;
    this.freeze(ms);
    this.#stood += ms * this.speed;
    for (const timer of this.#timers) this.#timeline.delay(timer, ms);
  }

  loseNetwork(ms: number): void {
    this.offlineUntil = this.#timeline.now + ms;
  }

  setWallClock(by: number): void {
    this.#wallOffset += by;
  }
}
