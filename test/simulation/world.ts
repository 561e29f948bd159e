import { createInMemoryRedis } from "js-redis-server";
import { vi } from "vitest";
import { type Command, type RedisClient, RefusedError } from "../../src/redis/client.ts";
import type { Runtime } from "../../src/time.ts";

/** How likely each fault is, for one request or message. */
export interface Faults {
  /** A request that is never executed. */
  loseRequest: number;
  /** A reply that never comes back. */
  loseReply: number;
  /** A request executed once more, up to some seconds later. */
  repeat: number;
  /** A request, reply or message delayed up to some seconds. */
  delay: number;
  /** A published message that never arrives. */
  loseMessage: number;
  /** A stream that breaks, or is refused. */
  breakStream: number;
}

export const calm: Faults = {
  loseRequest: 0,
  loseReply: 0,
  repeat: 0,
  delay: 0,
  loseMessage: 0,
  breakStream: 0,
};

type Engine = Awaited<ReturnType<Awaited<ReturnType<typeof createInMemoryRedis>>["connect"]>>;

const epoch = Date.UTC(2026, 0, 1);

/** A process with clocks of its own; frozen it does nothing, crashed nothing any more. */
export class SimulatedProcess {
  readonly world: World;
  readonly name: string;
  frozenUntil = 0;
  crashed = false;
  /** Its wall clock against the server's, in ms. */
  wallOffset = 0;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }

  get running(): boolean {
    return !this.crashed && this.frozenUntil <= this.world.now;
  }

  readonly runtime: Runtime = {
    now: () => ({ wall: epoch + this.world.now + this.wallOffset, mono: this.world.now }),
    setTimeout: (callback, ms) => this.world.schedule(Math.max(0, ms), callback, this),
    clearTimeout: (timer) => {
      if (timer) (timer as Event).cancelled = true;
    },
    random: () => this.world.random(),
    uuid: () => this.world.uuid(),
  };

  /** What its requests go through: the world's network and the real commands and scripts behind it. */
  readonly client: RedisClient = {
    resendsAfter: Number.POSITIVE_INFINITY,
    send: (command, signal) => this.world.request(this, command, signal),
    listen: (channel, hear, signal) => this.world.listen(this, channel, hear, signal),
  };
}

interface Event {
  at: number;
  order: number;
  run: () => unknown;
  process: SimulatedProcess | undefined;
  cancelled: boolean;
}

interface Subscription {
  process: SimulatedProcess;
  channel: string;
  hear: (message: string) => void;
}

/**
 * A virtual clock and a virtual network around a real engine. Nothing happens but by events, in an order that
 * the seed alone decides, so that a history can be run again.
 */
export class World {
  now = 0;
  readonly processes: SimulatedProcess[] = [];
  readonly trace: string[] = [];
  readonly #events: Event[] = [];
  readonly #subscriptions = new Set<Subscription>();
  readonly #faults: Faults;
  readonly #extended: boolean;
  readonly #engine: Engine;
  readonly #redis: { close(): unknown };
  #seed: number;
  #order = 0;
  #ids = 0;

  private constructor(
    seed: number,
    faults: Faults,
    extended: boolean,
    engine: Engine,
    redis: { close(): unknown },
  ) {
    this.#seed = seed | 0;
    this.#faults = faults;
    this.#extended = extended;
    this.#engine = engine;
    this.#redis = redis;
  }

  /** @param extended whether the server has DELEX and SET … IFEQ */
  static async create(seed: number, faults: Faults, extended: boolean): Promise<World> {
    vi.useFakeTimers({ toFake: ["Date"], now: epoch });
    const redis = await createInMemoryRedis();
    const world = new World(seed, faults, extended, await redis.connect(), redis);
    const subscriber = await redis.connect();
    await subscriber.command("PSUBSCRIBE", "sl:*");
    void (async () => {
      for await (const push of subscriber.pushes()) {
        const [kind, , channel, message] = push as string[];
        if (kind === "pmessage") world.#publish(channel as string, message as string);
      }
    })();
    return world;
  }

  close(): void {
    this.#redis.close();
  }

  /** From 0 up to 1 (mulberry32). */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  between(least: number, most: number): number {
    return Math.floor(least + this.random() * (most - least));
  }

  uuid(): string {
    const digits = String(++this.#ids).padStart(12, "0");
    return `${digits.slice(0, 8)}-${digits.slice(8)}-4000-8000-000000000000`;
  }

  addProcess(): SimulatedProcess {
    const process = new SimulatedProcess(this, `p${this.processes.length}`);
    this.processes.push(process);
    return process;
  }

  log(text: string): void {
    this.trace.push(`${String(this.now).padStart(7)} ${text}`);
  }

  schedule(ms: number, run: () => unknown, process?: SimulatedProcess): Event {
    const event = { at: this.now + Math.ceil(ms), order: this.#order++, run, process, cancelled: false };
    this.#events.push(event);
    return event;
  }

  /** Runs all events up to that time, `check` after each. */
  async run(until: number, check: () => void): Promise<void> {
    for (;;) {
      const event = this.#next();
      if (!event || event.at > until) break;
      this.#events.splice(this.#events.indexOf(event), 1);
      if (event.cancelled || event.process?.crashed) continue;
      if (event.process && event.process.frozenUntil > event.at) {
        // What was due while it was frozen happens at once when it is thawed, in any order.
        event.at = event.process.frozenUntil;
        event.order = this.random();
        this.#events.push(event);
        continue;
      }
      this.now = event.at;
      vi.setSystemTime(epoch + this.now);
      await event.run();
      // All that follows from it without waiting for another event.
      await new Promise(setImmediate);
      check();
    }
    this.now = until;
    vi.setSystemTime(epoch + until);
  }

  /** Straight to the engine, past the network. */
  async ask(...command: Command): Promise<unknown> {
    const [name, ...args] = command.map(String) as [string, ...string[]];
    const [key = "", value = ""] = args;
    if (this.#extended && name === "DELEX") {
      return this.#engine.command(
        "EVAL",
        "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0",
        "1",
        key,
        args[2] as string,
      );
    }
    if (this.#extended && args[2] === "IFEQ") {
      const script =
        "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) end";
      return this.#engine.command("EVAL", script, "1", key, args[3] as string, value, args[5] as string);
    }
    return this.#engine.command(name, ...args);
  }

  request(process: SimulatedProcess, command: Command, signal: AbortSignal): Promise<unknown> {
    const faults = this.#faults;
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Error("aborted")));
      const fail = (after: number) =>
        this.schedule(after, () => reject(new Error("connection reset")), process);
      const arrive = this.#latency();
      if (this.chance(faults.loseRequest)) return void (this.chance(0.5) && fail(arrive));
      const lost = this.chance(faults.loseReply);
      this.schedule(arrive, async () => {
        const reply = await this.#execute(process, command);
        const back = this.#latency();
        if (lost) return void (this.chance(0.5) && fail(back));
        this.schedule(back, () => ("error" in reply ? reject(reply.error) : resolve(reply.result)), process);
      });
      if (this.chance(faults.repeat)) {
        this.schedule(arrive + this.between(1, 6000), () => this.#execute(process, command));
      }
    });
  }

  async listen(
    process: SimulatedProcess,
    channel: string,
    hear: (message: string) => void,
    signal: AbortSignal,
  ) {
    const subscription = { process, channel, hear };
    await new Promise<void>((resolve, reject) => {
      signal.addEventListener("abort", () => resolve());
      if (this.chance(this.#faults.breakStream)) {
        return void this.schedule(this.#latency(), () => reject(new Error("refused")), process);
      }
      this.schedule(this.#latency(), () => {
        if (signal.aborted) return;
        this.#subscriptions.add(subscription);
        this.schedule(this.#latency(), () => hear(""), process);
      });
      if (this.chance(this.#faults.breakStream)) {
        this.schedule(this.between(100, 5000), () => this.#subscriptions.delete(subscription));
        this.schedule(this.between(100, 5000), () => reject(new Error("stream ended")), process);
      }
    }).finally(() => this.#subscriptions.delete(subscription));
  }

  async #execute(
    process: SimulatedProcess,
    command: Command,
  ): Promise<{ result: unknown } | { error: Error }> {
    const text =
      command[0] === "EVAL" ? `script ${command.slice(Number(command[2]) + 3).join(" ")}` : command.join(" ");
    try {
      const result = await this.ask(...command);
      this.log(`${process.name}: ${text} → ${JSON.stringify(result)}`);
      return { result };
    } catch (error) {
      return { error: new RefusedError((error as Error).message) };
    }
  }

  #publish(channel: string, message: string): void {
    for (const subscription of this.#subscriptions) {
      if (subscription.channel !== channel || this.chance(this.#faults.loseMessage)) continue;
      this.log(`to ${subscription.process.name}: ${message}`);
      const deliver = () => subscription.hear(message);
      this.schedule(this.#latency(), deliver, subscription.process);
      if (this.chance(this.#faults.repeat))
        this.schedule(this.#latency() + 500, deliver, subscription.process);
    }
  }

  #latency(): number {
    return this.chance(this.#faults.delay) ? this.between(100, 8000) : this.between(1, 40);
  }

  #next(): Event | undefined {
    let next: Event | undefined;
    for (const event of this.#events) {
      if (!next || event.at < next.at || (event.at === next.at && event.order < next.order)) next = event;
    }
    return next;
  }
}
