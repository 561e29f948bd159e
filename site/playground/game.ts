// The playground's world: the package's own client and protocol, on the simulation's network and virtual clock.
import type { Lock, Targets } from "../../src/index.ts";
import { decodePlain, decodeState } from "../../src/protocol/state.ts";
import { sleep } from "../../src/runtime.ts";
import * as library from "../../test/simulation/entry.ts";
import { createModelEngine } from "../../test/simulation/model.ts";
import type { Faults } from "../../test/simulation/network.ts";
import type { SimulatedProcess } from "../../test/simulation/process.ts";
import { lockKey } from "../../test/simulation/server.ts";
import { Tally } from "../../test/simulation/tally.ts";
import { createWorld } from "../../test/simulation/world.ts";

export type Kind = "exclusive" | "permits" | "readers";

/** What the reader has in hand. Times are in virtual ms. */
export interface Settings {
  kind: Kind;
  roundTrip: number;
  work: number;
  /** The share of requests, replies and messages that get lost. */
  loss: number;
  ttl: number;
}

export const usual: Settings = { kind: "exclusive", roundTrip: 40, work: 300, loss: 0, ttl: 2000 };

/** `asks` until it has the lock, or stands in the queue, where it `waits`. */
export type State = "rests" | "asks" | "waits" | "holds" | "writes" | "lets go" | "frozen" | "dead";

export interface Segment {
  state: State;
  from: number;
  /** Undefined while it lasts. */
  until: number | undefined;
}

export interface Client {
  readonly name: string;
  /** The latest last. */
  readonly segments: Segment[];
  /** Whether it reads; only of readers and a writer. */
  readonly reads: boolean;
  readonly alive: boolean;
  /** Its process ends, and does not let its lock go. */
  crash(): void;
  /** Its process stands still. */
  freeze(ms: number): void;
}

export interface Counts {
  acquired: number;
  /** Requests that reached Redis. */
  requests: number;
  /** How many were sure of the lock at the same moment, at most, and how many may be. */
  most: number;
  limit: number;
  lost: number;
  /** From the call of a release to the next holder's start, the median, in ms. */
  handOver: number | undefined;
}

export interface Game {
  readonly now: number;
  readonly clients: readonly Client[];
  readonly settings: Settings;
  readonly counts: Counts;
  /** Who holds the lock in Redis, by name. */
  readonly holders: readonly string[];
  readonly waiters: readonly string[];
  addClient(): Client;
  change(settings: Partial<Settings>): void;
  /** Lets so much virtual time pass. */
  advance(ms: number): Promise<void>;
}

/** How long the past is kept, in ms. */
export const memory = 60_000;

const permits = 2;

export async function createGame(seed: number, wanted: Settings = usual): Promise<Game> {
  const settings = { ...wanted };
  const faults: Faults = {
    ...{ loseRequest: 0, loseReply: 0, loseMessage: 0 },
    ...{ repeat: 0, delay: 0, breakStream: 0 },
  };
  const world = await createWorld({
    ...{ seed, faults, extended: true, library, tally: new Tally() },
    engine: createModelEngine(),
  });
  const { timeline, server, network } = world;
  const clients: Player[] = [];
  const handOvers: number[] = [];
  const counts = { acquired: 0, requests: 0, most: 0, lost: 0 };
  let [holders, waiters]: [string[], string[]] = [[], []];
  let letGo: number | undefined;

  const execute = server.execute.bind(server);
  server.execute = (command) => {
    counts.requests++;
    return execute(command);
  };

  function change(changed: Partial<Settings>): void {
    Object.assign(settings, changed);
    const oneWay = settings.roundTrip / 2;
    network.latency = [oneWay * 0.8, oneWay * 1.2 + 1];
    const { loss } = settings;
    Object.assign(faults, { loseRequest: loss, loseReply: loss, loseMessage: loss, breakStream: loss / 2 });
    if (changed.kind) Object.assign(counts, { most: 0 });
  }

  function addClient(): Client {
    const process = world.addProcess();
    const player = new Player(`client ${clients.length + 1}`, process, () => timeline.now);
    clients.push(player);
    void live(player, world.lockerOf(process), process);
    return player;
  }

  /** A client asks, works, lets go and rests, for ever. */
  async function live(
    player: Player,
    locker: ReturnType<typeof world.lockerOf>,
    { runtime }: SimulatedProcess,
  ): Promise<never> {
    for (;;) {
      player.turn("rests");
      await sleep(runtime, settings.work * (0.2 + runtime.random()));
      player.reads = settings.kind === "readers" && runtime.random() < 0.75;
      player.turn("asks");
      const lock = await locker
        .acquire(targetOf(player), {
          ...{ wait: "30s", ttl: settings.ttl, renew: true, owner: player.name },
          onEvent: ({ type }) => type === "waiting" && player.turn("waits"),
        })
        .catch(() => undefined);
      if (!lock) continue;
      counts.acquired++;
      if (letGo !== undefined) handOvers.push(timeline.now - letGo);
      letGo = undefined;
      player.lock = lock;
      player.turn(settings.kind === "readers" && !player.reads ? "writes" : "holds");
      await sleep(runtime, settings.work, lock.signal).catch(() => {});
      if (lock.signal.aborted) counts.lost++;
      player.lock = undefined;
      player.turn("lets go");
      const followed = clients.some((client) => client.alive && client.segments.at(-1)?.state === "waits");
      if (followed && settings.kind === "exclusive") letGo = timeline.now;
      await lock.release().catch(() => {});
    }
  }

  function targetOf({ reads }: Player): Targets {
    if (settings.kind === "permits") return { key: "k", limit: permits };
    return reads ? { key: "k", mode: "shared" } : "k";
  }

  async function look(): Promise<void> {
    const value = await server.ask("GET", lockKey);
    const plain = typeof value === "string" ? decodePlain(value) : undefined;
    const state = typeof value === "string" ? decodeState(value) : undefined;
    holders = plain ? [plain.owner] : (state?.holders ?? []).map(({ owner }) => owner);
    waiters = (state?.waiters ?? []).map(({ owner }) => owner);
  }

  change({});
  return {
    settings,
    clients,
    addClient,
    change,
    get now() {
      return timeline.now;
    },
    get holders() {
      return holders;
    },
    get waiters() {
      return waiters;
    },
    get counts() {
      const limit = { exclusive: 1, permits, readers: Math.max(1, clients.length) }[settings.kind];
      const sorted = handOvers.slice(-99).sort((a, b) => a - b);
      return { ...counts, limit, handOver: sorted[sorted.length >> 1] };
    },
    async advance(ms) {
      const until = timeline.now + ms;
      await timeline.run(until, () => {
        const sure = clients.filter((client) => client.sure);
        counts.most = Math.max(counts.most, sure.length);
      });
      timeline.now = until;
      await look();
      for (const client of clients) client.forget(until - memory);
    },
  };
}

class Player implements Client {
  readonly segments: Segment[] = [];
  reads = false;
  lock: Lock | undefined;
  readonly name: string;
  readonly #process: SimulatedProcess;
  readonly #now: () => number;

  constructor(name: string, process: SimulatedProcess, now: () => number) {
    this.name = name;
    this.#process = process;
    this.#now = now;
  }

  get alive(): boolean {
    return !this.#process.gone;
  }

  /** Whether it is sure of its lock, and can act on it. */
  get sure(): boolean {
    return this.#process.running && this.lock?.held === true;
  }

  turn(state: State): void {
    const last = this.segments.at(-1);
    if (last?.state === state) return;
    if (last) last.until = this.#now();
    this.segments.push({ state, from: this.#now(), until: undefined });
  }

  crash(): void {
    if (!this.alive) return;
    this.#process.crash();
    this.turn("dead");
  }

  freeze(ms: number): void {
    if (!this.#process.running) return;
    const before = this.segments.at(-1)?.state ?? "rests";
    this.#process.freeze(ms);
    this.turn("frozen");
    this.#process.runtime.later(() => {
      if (this.segments.at(-1)?.state === "frozen") this.turn(before);
    }, ms);
  }

  forget(before: number): void {
    while (this.segments[0]?.until !== undefined && this.segments[0].until < before) this.segments.shift();
  }
}
