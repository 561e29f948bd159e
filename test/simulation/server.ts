import { readResult } from "../../src/protocol/deliver.ts";
import { decodePlain, decodeState, type Entry, stateMark } from "../../src/protocol/state.ts";
import type { Command } from "../../src/redis/client.ts";
import type { Engine } from "./engine.ts";
import type { Library } from "./library.ts";
import type { Timeline } from "./timeline.ts";

/** Past any real time: the engine sweeps expired keys by the real clock now and then, and is to find none. */
const epoch = Date.UTC(2100, 0, 1);

/** Where a lock is in Redis. */
export const redisKeyOf = (key: string) => `lock:{${key}}`;

export const lockKey = redisKeyOf("k");

/** A part of a lock, as a state has it. */
export interface Share {
  /** Of the lock in Redis. */
  key: string;
  /** `x` for exclusive, `s` for shared; the limit for a permit. */
  mode: string;
  weight: number;
  /** Whether the server may have another mode: a request to change it was not answered yet. */
  unsettled?: boolean;
}

/** Somebody at a lock, for a while of true time. */
export interface Occupation extends Share {
  name: string;
  from: number;
  until: number;
  /** When it was first let in. A lease that had ended may be found again, before anybody else came. */
  admitted: number;
  /** The server's word for when it came. */
  since: number;
}

/** Somebody in a queue. */
export interface Place extends Share {
  name: string;
  /** Whether it is the queue behind another library's lock, past which anybody may take a free lock. */
  beside: boolean;
}

/** What an operator has set for a lock. */
interface Steering {
  limit: number | undefined;
  paused: boolean;
}

type Outcome = { result: unknown } | { error: Error };

/** A result that is stored now. */
export interface StoredResult {
  key: string;
  text: string;
  /** Who was let in last before. */
  holder: string | undefined;
}

/** The server: an engine, its clock, and who was at the lock when. */
export class Server {
  readonly occupations: Occupation[] = [];
  downUntil = 0;
  /** The channels that it takes somebody to listen to. */
  listening: () => ReadonlySet<string> = () => new Set();
  /** Told of every result that is stored. Without it, none is looked for. */
  onResult: ((result: StoredResult) => void) | undefined;
  /** Told of every command of a request. */
  log: ((step: string) => void) | undefined;
  readonly #engine: Engine;
  readonly #timeline: Timeline;
  readonly #extended: boolean;
  readonly #library: Library;
  readonly #keys: readonly string[];
  /** Who stood at a lock when it was last looked at, and who in its queue. */
  readonly #present = new Map<string, Occupation[]>();
  readonly #queues = new Map<string, Place[]>();
  readonly #results = new Map<string, unknown>();
  /** Those that an operator ended: whose renewal is refused, and whose lock went at once. */
  readonly ended = new Set<string>();
  readonly endedNow = new Set<string>();
  /** What an operator's word did not keep out. */
  readonly letIn: string[] = [];
  /** Whose the tokens are that were seen last, and another library's values. */
  readonly #names = new Map<string, Map<string, string>>();
  readonly #steering = new Map<string, Steering>();
  readonly #highestLimit = new Map<string, number>();
  /** When an operator's word was last in force. */
  readonly #steeredUntil = new Map<string, number>();
  /** The locks whose state keeps all out. */
  readonly #shut = new Set<string>();
  #clockOffset = 0;

  /**
   * @param extended whether it has what Upstash has and Redis before 8.4 lacks: DELEX, SET … IFEQ, script flags
   * @param keys what may be locked, as callers name it
   */
  constructor(
    engine: Engine,
    timeline: Timeline,
    extended: boolean,
    library: Library,
    keys: readonly string[] = ["k"],
  ) {
    this.#keys = keys.map(redisKeyOf);
    this.#library = library;
    this.#engine = engine;
    this.#timeline = timeline;
    this.#extended = extended;
  }

  set onPublish(listener: Engine["onPublish"]) {
    this.#engine.onPublish = listener;
  }

  /** A request's command. */
  async execute(command: Command): Promise<Outcome> {
    if (this.downUntil > this.#timeline.now) return { error: new Error("HTTP 503") };
    try {
      const result = await this.ask(...command);
      this.log?.(`${describe(command)} → ${JSON.stringify(result)}`);
      return { result };
    } catch (error) {
      // All else is a defect of the simulation.
      if (!/^[A-Z]+ /.test((error as Error).message)) throw error;
      return { error: new this.#library.RefusedError((error as Error).message) };
    }
  }

  /** Whether that is what it says when it executes nothing. */
  refused(error: unknown): boolean {
    return error instanceof this.#library.RefusedError;
  }

  /** Past all faults. */
  async ask(...command: Command): Promise<unknown> {
    const ending = this.#endingOf(command);
    const result = await this.#run(command.map(String) as [string, ...string[]]);
    for (const name of ending?.names ?? []) (ending?.now ? this.endedNow : this.ended).add(name);
    await this.#observe();
    return result;
  }

  /** Whom an operator's command means. */
  #endingOf(command: Command): { names: string[]; now: boolean } | undefined {
    if (command[0] !== "EVAL" || command.at(-1) !== "finish") return undefined;
    const [how, ...named] = command.slice(3 + Number(command[2]), -1);
    const names = this.#names.get(`${command[3]}`);
    return { names: named.flatMap((each) => names?.get(`${each}`) ?? []), now: how === "now" };
  }

  /** Whether an operator's word is in force at a lock, or was at that time or later. */
  isSteered(key: string, since = this.#timeline.now): boolean {
    return this.#steering.has(key) || (this.#steeredUntil.get(key) ?? -1) >= since;
  }

  /** The highest limit that counts at a lock beside the callers' own. */
  limitAt(key: string): number {
    return this.#highestLimit.get(key) ?? 0;
  }

  get keys(): readonly string[] {
    return this.#keys;
  }

  /** Who is at a lock right now. */
  presentAt(key: string): Occupation[] {
    return (this.#present.get(key) ?? []).filter(({ until }) => until > this.#timeline.now);
  }

  /** Who stands in the queue of a lock, in its order. */
  queueOf(key: string): readonly Place[] {
    return this.#queues.get(key) ?? [];
  }

  async setClock(by: number): Promise<void> {
    // What has expired is gone, and does not come back.
    await this.ask("KEYS", "*");
    this.#clockOffset += by;
    await this.ask("KEYS", "*");
  }

  async deleteLocks(): Promise<void> {
    for (const key of this.#keys) await this.ask("DEL", key);
  }

  #run([name, ...args]: [string, ...string[]]): Promise<unknown> {
    this.#engine.listening = this.listening();
    this.#engine.now = epoch + this.#timeline.now + this.#clockOffset;
    const [key = "", value = "", option, compared = ""] = args;
    if (this.#extended) {
      if (name === "DELEX") return this.#ifEqual(key, compared, 0, ["DEL", key]);
      if (option === "IFEQ") return this.#ifEqual(key, compared, null, ["SET", key, value, ...args.slice(4)]);
      if (name === "EVAL") args[0] = key.replace(/^#!lua flags=allow-key-locking\n/, "");
    }
    return this.#engine.command(name, ...args);
  }

  /** One event at a time is run, so nothing comes between the two commands. */
  async #ifEqual(
    key: string,
    value: string,
    otherwise: unknown,
    command: [string, ...string[]],
  ): Promise<unknown> {
    const there = await this.#engine.command("GET", key);
    return there === value ? this.#engine.command(...command) : otherwise;
  }

  async #observe(): Promise<void> {
    for (const key of this.#keys) {
      if (this.onResult) await this.#observeResult(key, this.onResult);
      await this.#observeKey(key);
    }
  }

  async #observeResult(key: string, tell: (result: StoredResult) => void): Promise<void> {
    const stored = await this.#engine.command("GET", `${key}:result`);
    if (stored === this.#results.get(key)) return;
    this.#results.set(key, stored);
    const text = readResult(stored);
    const holder = this.occupations.findLast((each) => each.key === key)?.name;
    if (text !== undefined) tell({ key, text, holder });
  }

  async #observeKey(key: string): Promise<void> {
    const { now } = this.#timeline;
    const before = this.#steering.get(key);
    const shut = this.#shut.has(key);
    const there = await this.#lookAt(key);
    const steering = this.#steering.get(key);
    const present = this.presentAt(key);
    const newcomers: Standing[] = [];
    const same = (one: Standing, other: Standing) => one.name === other.name && one.mode === other.mode;
    for (const each of present)
      each.until = Math.max(now, ...there.filter((other) => same(each, other)).map(({ until }) => until));
    for (const each of there) {
      if (each.until <= now || present.some((other) => same(each, other))) continue;
      // A lock that is kept is so from when its holder was let in.
      const names = [each.name, each.name.replace(/, kept$/, "")];
      const before = this.occupations.findLast((other) => other.key === key && names.includes(other.name));
      const admitted = before && before.since === each.since ? before.admitted : now;
      const occupation = { ...each, from: now, admitted };
      const known = admitted < now || present.some((other) => wholeName(other) === wholeName(each));
      if (!known) newcomers.push(each);
      present.push(occupation);
      this.occupations.push(occupation);
    }
    this.#present.set(key, present);
    for (const { name, mode } of newcomers) {
      if (shut && steering?.paused) this.letIn.push(`${name} was let in while the lock was paused`);
      const limit = steering?.limit === before?.limit ? steering?.limit : undefined;
      const sum = there.reduce((total, { weight }) => total + weight, 0);
      if (limit && kindOf(mode) === "permit" && there.length > 1 && sum > limit)
        this.letIn.push(`${name} was let in past the operator's limit of ${limit}`);
    }
  }

  /** Notes what an operator has set for a lock. */
  async #noteSteering(key: string, value: unknown): Promise<void> {
    const said = await this.#engine.command("GET", `${key}:operator`);
    const [, limit, pause] = /^(\d*):(1?):/.exec(`${said}`) ?? [];
    const paused = pause === "1";
    if (limit || paused) {
      this.#steering.set(key, { limit: Number(limit) || undefined, paused });
      this.#highestLimit.set(key, Math.max(this.limitAt(key), Number(limit)));
    } else if (this.#steering.delete(key)) this.#steeredUntil.set(key, this.#timeline.now);
    if (paused && typeof value === "string" && value.startsWith(stateMark)) this.#shut.add(key);
    else this.#shut.delete(key);
  }

  /** Who has the lock, and until when of true time. Notes who waits for it. */
  async #lookAt(key: string): Promise<Omit<Occupation, "from" | "admitted">[]> {
    const { now } = this.#timeline;
    const value = await this.#engine.command("GET", key);
    await this.#noteSteering(key, value);
    const beside = await this.#engine.command("GET", `${key}:waiters`);
    const [state, behind] = [value, beside].map((each) => decodeState(typeof each === "string" ? each : ""));
    const placesOf = (waiters: readonly Entry[] = [], beside: boolean) =>
      waiters.map(({ mode, weight, owner }): Place => {
        // Who waits for a result is let in as an exclusive holder.
        return { key, mode: mode === "f" ? "x" : mode, weight, name: owner, beside };
      });
    this.#queues.set(key, [...placesOf(state?.waiters, false), ...placesOf(behind?.waiters, true)]);
    const names = new Map<string, string>();
    this.#names.set(key, names);
    if (typeof value !== "string") return [];
    if (state)
      return state.holders.map((holder) => {
        const name = nameOf(holder);
        names.set(holder.token, name);
        const { mode, weight, since } = holder;
        return {
          key,
          mode,
          weight,
          since,
          name,
          until: holder.until - epoch - this.#clockOffset,
        };
      });
    const plain = decodePlain(value);
    const until = now + Number(await this.#engine.command("PTTL", key));
    const since = plain?.since ?? 0;
    const name = plain ? nameOf(plain) : value;
    names.set(plain ? plain.token : `=${value}`, name);
    return [{ key, mode: "x", weight: 1, since, name, until }];
  }
}

/** Whether one may stand beside those that are there, if nobody waits before it. */
export function fits({ mode, weight }: Omit<Share, "key">, there: readonly Omit<Share, "key">[]): boolean {
  const sum = there.reduce((total, each) => total + each.weight, weight);
  return (
    there.every((other) => kindOf(other.mode) === kindOf(mode) && mode !== "x") &&
    (mode === "s" || mode === "x" || sum <= Number(mode))
  );
}

/** A permit's mode is its limit. */
export function kindOf(mode: string): string {
  return mode === "x" || mode === "s" ? mode : "permit";
}

interface Standing {
  name: string;
  mode: string;
}

/**
 * A contender goes by its owner; a foreigner's value is its name. A lock that is kept is no holder's any more. One that an
 * operator ended is its holder's until its lease ends.
 */
function nameOf({ token, owner }: { token: string; owner: string }): string {
  return /\.kept(\.ended)?$/.test(token) ? `${owner}, kept` : owner;
}

function wholeName({ name }: Standing): string {
  return name.replace(/, kept$/, "");
}

function describe([name, ...words]: Command): string {
  return name === "EVAL"
    ? `script ${words.slice(Number(words[1]) + 2).join(" ")}`
    : [name, ...words].join(" ");
}
