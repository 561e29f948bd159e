import { decodePlain, decodeState } from "../../src/protocol/state.ts";
import type { Command } from "../../src/redis/client.ts";
import type { Engine } from "./engine.ts";
import type { Library } from "./library.ts";
import type { Timeline } from "./timeline.ts";

/** Past any real time: the engine sweeps expired keys by the real clock now and then, and is to find none. */
const epoch = Date.UTC(2100, 0, 1);

export const lockKey = "lock:{k}";

/** Somebody's value at the lock's key, for a while of true time. */
interface Occupation {
  name: string;
  from: number;
  until: number;
}

type Outcome = { result: unknown } | { error: Error };

/** The server: an engine, its clock, and who was at the lock when. */
export class Server {
  readonly occupations: Occupation[] = [];
  downUntil = 0;
  /** The channels that it takes somebody to listen to. */
  listening: () => ReadonlySet<string> = () => new Set();
  /** Told of every command of a request. */
  log: ((step: string) => void) | undefined;
  readonly #engine: Engine;
  readonly #timeline: Timeline;
  readonly #extended: boolean;
  readonly #library: Library;
  #clockOffset = 0;

  /** @param extended whether it has what Upstash has and Redis before 8.4 lacks: DELEX, SET … IFEQ, script flags */
  constructor(engine: Engine, timeline: Timeline, extended: boolean, library: Library) {
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
    const result = await this.#run(command.map(String) as [string, ...string[]]);
    await this.#observe();
    return result;
  }

  /** Who is at the lock right now. */
  get occupation(): Occupation | undefined {
    const last = this.occupations.at(-1);
    return last && last.until > this.#timeline.now ? last : undefined;
  }

  async setClock(by: number): Promise<void> {
    // What has expired is gone, and does not come back.
    await this.ask("KEYS", "*");
    this.#clockOffset += by;
    await this.ask("KEYS", "*");
  }

  deleteLock(): Promise<unknown> {
    return this.ask("DEL", lockKey);
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
    const { now } = this.#timeline;
    const last = this.occupations.at(-1);
    const there = await this.#occupant();
    if (last && last.until > now) {
      last.until = last.name === there?.name ? there.until : now;
      if (last.name === there?.name) return;
    }
    if (there && there.until > now) this.occupations.push({ ...there, from: now });
  }

  /** Who has the lock, and until when of true time. */
  async #occupant(): Promise<{ name: string; until: number } | undefined> {
    const value = await this.#engine.command("GET", lockKey);
    if (typeof value !== "string") return undefined;
    const state = decodeState(value);
    if (state) {
      const [holder] = state.holders;
      return holder && { name: nameOf(holder), until: holder.until - epoch - this.#clockOffset };
    }
    const plain = decodePlain(value);
    const left = Number(await this.#engine.command("PTTL", lockKey));
    return { name: plain ? nameOf(plain) : value, until: this.#timeline.now + left };
  }
}

/** A contender goes by its owner; a foreigner's value is its name. A lock that is kept is no holder's any more. */
function nameOf({ token, owner }: { token: string; owner: string }): string {
  return token.endsWith(".kept") ? `${owner}, kept` : owner;
}

function describe([name, ...words]: Command): string {
  return name === "EVAL"
    ? `script ${words.slice(Number(words[1]) + 2).join(" ")}`
    : [name, ...words].join(" ");
}
