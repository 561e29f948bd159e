import type { AdminOperation } from "../admin/script.ts";
import type { Operation } from "../protocol/script.ts";
import {
  decodePlain,
  decodeState,
  type Entry,
  encodePlain,
  encodeState,
  marksRoom,
  type State,
  stateMark,
  stateRoom,
} from "../protocol/state.ts";
import {
  askedTogether,
  fenceLife,
  lostRequestMargin,
  marksLife,
  pausedLife,
  pollAtLeastEvery,
  pollEvery,
  pollLaterPerPlace,
  shortestGrant,
  unheardCut,
} from "../protocol/timing.ts";
import type { StealOperation } from "../web-locks/steal.ts";

const empty: State = { ticket: 0, until: 0, holders: [], waiters: [] };

/** What the memory needs of the world outside. */
export interface Surroundings {
  /** The server's clock, in ms. */
  now(): number;
  /** Hands a message to those who listen to a channel. Returns how many they are. */
  publish(channel: string, message: string): number;
}

/** A Redis in memory, as far as the protocol uses one. */
export interface MemoryRedis {
  /** Executes a command. Throws what Redis says where it refuses one. */
  command(name: string, ...args: string[]): unknown;
}

/**
 * What the commands and scripts of the protocol do, on a map instead of Redis: the one model of them in JavaScript.
 * `memoryLocker` and most histories of the simulation run on it. It gives the replies, sends the messages and keeps the
 * values that the Lua does: test/simulation/equivalence.test.ts.
 */
export function createMemoryRedis(world: Surroundings): MemoryRedis {
  const data = createStrings(world.now);
  const operations = { join, release, extend, deliver, look, finish, steer, swap };

  function command(name: string, ...args: string[]): unknown {
    const [key = "", value = "", option] = args;
    switch (name) {
      case "GET":
        return data.get(key) ?? null;
      case "SET":
        return set(args);
      case "DEL":
        return data.delete(key);
      case "DELEX":
        return value === "IFEQ" && data.get(key) === option ? data.delete(key) : 0;
      case "PTTL":
        return data.left(key);
      case "TIME":
        return [`${Math.floor(world.now() / 1000)}`, `${Math.floor((world.now() % 1000) * 1000)}`];
      case "KEYS":
        return data.keys();
      case "SCAN":
        return ["0", data.keys().filter((each) => each.startsWith(startOf(option ?? "")))];
      // There is no replica that could miss anything: as many as are asked for have it.
      case "WAIT":
        return Number(key);
      case "FLUSHALL":
        return data.clear();
      case "EVAL": {
        // The script's text says nothing here: it is made small when the package is built.
        const operation = operations[args.at(-1) as Operation | AdminOperation | StealOperation];
        if (!operation) throw new Error("ERR unknown script");
        const afterKeys = 2 + Number(value);
        return operation(args.slice(2, afterKeys), args.slice(afterKeys, -1));
      }
      default:
        throw new Error(`ERR unknown command '${name}'`);
    }
  }

  /** SET key value PX ms, SET key value NX [GET] PX ms, SET key value IFEQ value PX ms: all that is ever asked for. */
  function set([key = "", value = "", option, compared, ...more]: string[]): unknown {
    const there = data.get(key);
    const get = compared === "GET";
    const ms = Number(more.at(-1) ?? compared);
    if (option === "IFEQ" && there !== compared) return null;
    if (option === "NX" && there !== undefined) return get ? there : null;
    data.set(key, value, ms);
    return get ? null : "OK";
  }

  function join(keys: string[], args: string[]): unknown {
    const [lease, asked = "", owner = "", ...claims] = args;
    const locks = Math.floor(claims.length / 3);
    const fences = 4 * locks;
    const now = world.now();
    const values = keys.map((key) => data.get(key));
    const [firstToken = "", firstMode, , ticket] = claims;
    const takesResult = firstMode === "f";
    const [, last, ends] = (takesResult && /^r1:[^:]*:(\d+):(\d+):/.exec(values.at(-1) ?? "")) || [];
    const forUs = ends === "0" || (ticket !== "0" && Number(ticket) <= Number(last)) || now < Number(ends);
    if (last && forUs) {
      const [lock = ""] = keys;
      const there = open(lock);
      const desk = there && openDesk(lock, there, values[1]);
      if (desk?.takeOut("waiters", firstToken)) {
        desk.pass();
        desk.store();
      }
      return [2, values.at(-1)];
    }
    const desks: Desk[] = [];
    const held: Entry[] = [];

    const keep = (i: number, asker?: string) => {
      const beside = keys[4 * i + 2] ?? "";
      if (values[4 * i + 2] !== undefined) data.delete(beside);
      return (desks[i] as Desk).store(asker);
    };
    const busy = (i: number, ...reply: unknown[]) => {
      for (let before = 0; before < i; before++) if ((desks[before] as Desk).granted.length) keep(before);
      return [0, ...reply];
    };

    for (let i = 0; i < locks; i++) {
      const [key = "", operator = "", beside = ""] = keys.slice(4 * i);
      const [token = "", mode = "", weight] = claims.slice(3 * i);
      const claim = { token, mode, weight: Number(weight), owner };
      if (values[4 * i + 3] !== undefined) return busy(i, ":", 0, 0, i + 1);
      const behind = open(beside) ?? empty;
      const own = open(key);
      if (!own) {
        const waiting = openDesk(beside, behind);
        const stay = asked === "" ? undefined : waiting.stand(claim, Number(asked));
        if (stay) waiting.write();
        return busy(i, ":", data.left(key), 1, i + 1, ...(stay ?? []));
      }
      if (!own.waiters.length) {
        const ticket = Math.max(own.ticket, behind.ticket);
        Object.assign(own, { waiters: behind.waiters, until: behind.until, ticket });
      }
      const desk = openDesk(key, own, data.get(operator));
      desks[i] = desk;
      let [mine, stay]: [Entry | undefined, Stay | undefined] = [desk.takeOut("holders", token), undefined];
      if (!mine) {
        stay = asked === "" ? undefined : desk.stand(claim, Number(asked));
        desk.pass();
        const granted = desk.takeOut("holders", token);
        const free = granted || !(desk.blocked || !desk.fits(claim) || desk.isFull());
        if (free) mine = { ...claim, since: now, until: 0, ticket: 0 };
      }
      if (!mine) {
        if (stay || desk.granted.length) keep(i);
        const [soonest] = desk.state.holders.toSorted((a, b) => a.until - b.until);
        // A paused lock may have no holder.
        const { until, owner: theirs } = soonest ?? { until: now, owner: "" };
        const place = stay ? [stay[0], stay[1] - desk.passed, stay[2]] : [];
        return busy(i, `:${theirs}`, until - now, desk.isEnded(token) ? 2 : 0, i + 1, ...place);
      }
      // It may have become a reader since it asked.
      const { since, until } = mine;
      const leaseEnd = Math.max(until, now + Number(lease));
      held[i] = { ...claim, mode: heldAs(mine.mode), weight: mine.weight, ticket: 0, since, until: leaseEnd };
    }

    const counters = keys.slice(fences, takesResult ? -1 : undefined);
    const fence = Math.max(...counters.map((key) => Math.max(now, Number(data.get(key) ?? 0) + 1)), 0);
    const left = desks.map((desk, i) => {
      const mine = held[i] as Entry;
      desk.state.holders.push(mine);
      const value = keep(i, mine.token);
      const counter = counters[i];
      if (counter !== undefined) data.set(counter, `${fence}`, fenceLife);
      return value;
    });
    return [1, fence, ...left];
  }

  function release(keys: string[], [ms, ...tokens]: string[]): number {
    const each = keys.length / tokens.length;
    let ours = 0;
    tokens.forEach((token, i) => {
      const [key = "", operator = "", beside = "", tombstone = ""] = keys.slice(i * each, (i + 1) * each);
      const plain = decodePlain(data.get(key) ?? "");
      if (plain?.token === token || plain?.token === `${token}.ended`) {
        ours += data.delete(key);
      } else {
        const lock = plain || data.get(key) === undefined ? undefined : open(key);
        const desk = lock ? openDesk(key, lock, data.get(operator)) : openDesk(beside, open(beside));
        const held = desk.takeOut("holders", token) ?? desk.takeOut("holders", `${token}.ended`);
        if (held) ours++;
        if (desk.takeOut("waiters", token) || held) {
          if (lock) desk.pass();
          desk.store();
        }
      }
      if (ms !== "0") data.set(tombstone, "1", Number(ms));
    });
    return ours;
  }

  function extend(keys: string[], [keepsLonger, ...changes]: string[]): unknown {
    return locksOf(keys, 2).map(([key = "", operator = ""], i) => {
      const [token = "", lease, next = "", mode] = changes.slice(4 * i);
      const said = data.get(operator) ?? "";
      const desk = openDesk(key, data.get(key) === undefined ? empty : open(key), said);
      const held = desk.takeOut("holders", token) ?? desk.takeOut("holders", next);
      const ended = said.includes(`${token}.ended `) || desk.isEnded(token);
      if (!held) return ended ? -1 : 0;
      const longer = keepsLonger === "1" ? held.until : 0;
      const until = Math.max(longer, world.now() + Number(lease));
      desk.state.holders.push({ ...held, token: next, mode: mode || held.mode, until });
      desk.pass();
      return desk.store();
    });
  }

  function deliver([key = "", operator = "", resultAt = "", counter]: string[], args: string[]): number {
    const [token = "", mark, ms, text, fence] = args;
    const there = data.get(key);
    const opened = there === undefined ? undefined : open(key);
    const desk = openDesk(key, opened, data.get(operator));
    const stale = counter !== undefined && Number(data.get(counter) ?? 0) > Number(fence);
    if (stale || !(desk.takeOut("holders", token) ?? desk.takeOut("holders", `${token}.ended`)))
      return data.get(resultAt)?.startsWith(`r1:${mark}:`) ? 1 : 0;
    const now = world.now();
    const told = desk.state.waiters.filter(({ mode }) => mode === "f");
    desk.state.waiters = desk.state.waiters.filter(({ mode }) => mode !== "f");
    const life = told.length ? Math.max(Number(ms), desk.state.until - now) : Number(ms);
    const last = decodePlain(there ?? "") ? 0 : desk.state.ticket;
    const ends = life > Number(ms) ? now + Number(ms) : 0;
    const result = `r1:${mark}:${last}:${ends}:${text}`;
    if (life > 0) data.set(resultAt, result, life);
    // A plain value is deleted as it is, also under a pause that came while somebody deleted the lock by hand.
    if (decodePlain(there ?? "")) data.delete(key);
    else {
      desk.pass();
      desk.store();
    }
    for (const waiter of told)
      world.publish(`sl:${waiter.token.slice(0, 18)}`, result.length > 4096 ? "=" : `=${result}`);
    return 1;
  }

  function look(keys: string[]): unknown {
    let time = 0;
    const each = locksOf(keys, 4).map(([key = "", ...beside]) => {
      const value = data.get(key);
      const state = value?.startsWith(stateMark);
      const others = beside.map((name) => data.get(name) ?? null);
      if (state || others[1] !== null) time = world.now();
      const left = value === undefined || state ? 0 : data.left(key);
      return [value === undefined ? null : `=${value}`, ...others, left];
    });
    return [time, ...each];
  }

  function finish([key = "", operator = "", beside = ""]: string[], [how, ...named]: string[]): number {
    const now = world.now();
    const said = data.get(operator) ?? "";
    let opened = open(key);
    if (!opened || named.includes("=")) {
      if (how !== "now" || !named.includes(`=${data.get(key) ?? ""}`)) return 0;
      const behind = open(beside);
      opened = behind ?? empty;
      if (behind) data.delete(beside);
    }
    const desk = openDesk(key, opened, said);
    const ended = desk.state.holders.filter(({ token }) => named.includes(token));
    const whole = ({ token }: Entry) => token.replace(/\.ended$/, "");
    const atOnce = ended.filter((each) => how === "now" || whole(each).endsWith(".kept"));
    desk.state.holders = desk.state.holders
      .filter((each) => !atOnce.includes(each))
      .map((each) => (ended.includes(each) ? { ...each, token: `${whole(each)}.ended` } : each));
    if (atOnce.length > 0) {
      const [, set = "::", before = ""] = /^(\d*:1?:)(.*)$/.exec(said) ?? [];
      const last = Math.max(1, before ? data.left(operator) : 0, ...atOnce.map(({ until }) => until - now));
      const marks = atOnce.map((each) => `${whole(each)}.ended `).join("");
      const word = set + marks + before.slice(0, marksRoom);
      data.set(operator, word, set === "::" ? last : Number.POSITIVE_INFINITY);
    }
    desk.pass();
    desk.store();
    const left = desk.state.holders.filter(({ token }) => token.endsWith(".ended"));
    return Math.max(0, ...left.map(({ until }) => until - now));
  }

  function steer([key = "", operator = ""]: string[], [limit = "", pause = ""]: string[]): number {
    const before = /^(\d*):(1?):(.*)$/.exec(data.get(operator) ?? "") ?? [];
    const [, limitBefore = "", pauseBefore = "", marks = ""] = before;
    const set = [limit === "-" ? limitBefore : limit, pause === "-" ? pauseBefore : pause];
    const said = [...set, marks].join(":");
    if (set.join("")) data.set(operator, said, Number.POSITIVE_INFINITY);
    else if (marks) data.set(operator, said, marksLife);
    else data.delete(operator);
    const opened = open(key);
    if (opened) {
      const desk = openDesk(key, opened, said);
      desk.pass();
      desk.store();
    }
    return 1;
  }

  function swap([key = "", tombstone = ""]: string[], [seen, next = "", life]: string[]): number {
    if (data.get(key) !== seen || data.get(tombstone) !== undefined) return 0;
    data.set(key, next, Number(life));
    return 1;
  }

  /** What is at a key. A plain value is opened as a state of one holder. Undefined for another library's. */
  function open(key: string): State | undefined {
    const value = data.get(key);
    if (value === undefined) return { ...empty };
    const plain = decodePlain(value);
    if (!plain) return decodeState(value);
    const { token, since, owner } = plain;
    const until = world.now() + data.left(key);
    return { ...empty, holders: [{ token, mode: "x", weight: 1, until, since, ticket: 0, owner }] };
  }

  /**
   * A state that is being changed: what the scripts' prelude does.
   * @param said what an operator has set
   */
  function openDesk(key: string, opened: State = empty, said = "") {
    const [, limitSet, pause] = /^(\d*):(1?)/.exec(said) ?? [];
    const paused = pause === "1";
    const state = { ...opened, holders: [...opened.holders], waiters: [...opened.waiters] };
    const now = world.now();
    const desk = {
      state,
      granted: [] as Entry[],
      /** How many left the queue by `pass`. */
      passed: 0,
      /** Whether a waiter that is alive does not fit. */
      blocked: false,

      isEnded: (token: string) => state.holders.some((holder) => holder.token === `${token}.ended`),

      fits({ token, mode, weight }: Pick<Entry, "token" | "mode" | "weight">): boolean {
        const [first] = state.holders;
        if (desk.isEnded(token)) return false;
        if (paused || !first) return !paused;
        if (mode === "x" || mode === "f" || kindOf(mode) !== kindOf(first.mode)) return false;
        const limit = Number(limitSet || mode);
        const sum = state.holders.reduce((total, holder) => total + holder.weight, Math.min(weight, limit));
        return mode === "s" || sum <= limit;
      },

      pass(): void {
        state.holders = state.holders.filter(({ until }) => until > now);
        let [place, rest] = [0, 0];
        for (const waiter of state.waiters) {
          place++;
          if (waiter.until <= now) continue;
          desk.blocked = !desk.fits(waiter);
          if (desk.blocked) break;
          state.holders.push({ ...waiter, mode: heldAs(waiter.mode), since: now, ticket: 0 });
          desk.granted.push(waiter);
          rest = place;
        }
        desk.passed = desk.blocked ? rest : place;
        state.waiters = state.waiters.slice(desk.passed);
      },

      write(): string {
        const { holders, waiters } = state;
        const [first] = holders;
        if (!first && !waiters.length && !paused) {
          data.delete(key);
          return "";
        }
        const until = Math.max(waiters.length ? state.until : 0, ...holders.map((holder) => holder.until));
        const life = paused ? pausedLife : Math.max(1, until - now);
        const alone =
          !paused && holders.length === 1 && !waiters.length && first?.mode === "x" ? first : undefined;
        const plain = alone && encodePlain({ ...alone, lease: life });
        data.set(key, plain ?? encodeState(state), life);
        return plain ?? stateMark;
      },

      store(asker?: string): string {
        const value = desk.write();
        let unheard = false;
        for (const { token, ticket, until } of desk.granted) {
          if (token === asker) continue;
          const left = until - now;
          const message = `${ticket}${value === stateMark ? "!" : `:${left}:${now}`}`;
          if (world.publish(`sl:${token.slice(0, 18)}`, message) > 0) continue;
          const holder = desk.takeOut("holders", token) as Entry;
          state.holders.push({ ...holder, until: now + Math.max(left - unheardCut, shortestGrant) });
          unheard = true;
        }
        if (unheard) desk.write();
        return value;
      },

      takeOut(from: "holders" | "waiters", token: string): Entry | undefined {
        const index = state[from].findIndex((entry) => entry.token === token);
        return index < 0 ? undefined : state[from].splice(index, 1)[0];
      },

      /** Returns ticket, place and stay; undefined if there is no room. */
      stand(claim: Pick<Entry, "token" | "mode" | "weight" | "owner">, ago: number): Stay | undefined {
        let waiter = state.waiters.find(({ token }) => token === claim.token);
        if (!waiter) {
          if (desk.isFull()) return undefined;
          const since = now - ago;
          state.ticket = Math.max(now, state.ticket + 1);
          waiter = { ...claim, ticket: state.ticket, until: 0, since };
          state.waiters.splice(newPlace(since), 0, waiter);
        }
        const place = state.waiters.indexOf(waiter);
        const pause = Math.max(pollEvery, Math.min(pollAtLeastEvery, place * pollLaterPerPlace));
        const stay = lostRequestMargin + pause;
        const { mode, weight, owner } = claim;
        const changed = { mode, weight, owner, until: Math.max(waiter.until, now + stay) };
        state.waiters[place] = { ...waiter, ...changed };
        state.until = Math.max(state.until, changed.until);
        return [waiter.ticket, place, stay];
      },

      isFull(): boolean {
        if (linesOf(state) < stateRoom) return false;
        state.waiters = state.waiters.filter(({ until }) => until > now);
        return linesOf(state) >= stateRoom;
      },
    };

    function newPlace(asked: number): number {
      const later = ({ since }: Entry) => since > asked + askedTogether && since <= now;
      return state.waiters.findLastIndex((waiter) => !later(waiter)) + 1;
    }

    return desk;
  }

  return { command };
}

/** The keys of each lock. */
function locksOf(keys: string[], many: number): string[][] {
  return Array.from({ length: keys.length / many }, (_, i) => keys.slice(i * many, (i + 1) * many));
}

/** The text that a pattern of SCAN begins with. */
function startOf(pattern: string): string {
  return pattern.replace(/\*$/, "").replace(/\\(.)/g, "$1");
}

/** A stay in the queue: its ticket, how many wait before it, for how many ms it counts as alive. */
type Stay = [ticket: number, place: number, ms: number];

/** The part of a state being changed that outlives a look at one lock. */
interface Desk {
  state: State;
  granted: Entry[];
  store(asker?: string): string;
}

/** Who waited for a result is an exclusive holder. */
function heldAs(mode: string): string {
  return mode === "f" ? "x" : mode;
}

/** A permit's mode is its limit. */
function kindOf(mode: string): string {
  return mode === "x" || mode === "s" ? mode : "permit";
}

/** How many bytes the lines of a state take. */
function linesOf(state: State): number {
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  return bytes(encodeState(state)) - bytes(`s2!${state.ticket} ${state.until}`);
}

/** Strings that expire. */
function createStrings(now: () => number) {
  const entries = new Map<string, { value: string; expires: number }>();
  const read = (key: string) => {
    const entry = entries.get(key);
    if (entry && entry.expires > now()) return entry;
    entries.delete(key);
    return undefined;
  };
  return {
    get: (key: string) => read(key)?.value,
    set(key: string, value: string, ms: number) {
      entries.set(key, { value, expires: now() + ms });
    },
    delete(key: string): number {
      const there = read(key) !== undefined;
      entries.delete(key);
      return there ? 1 : 0;
    },
    /** Ms until it expires; -1 where it does not, -2 where it is not. */
    left(key: string): number {
      const entry = read(key);
      if (!entry) return -2;
      return entry.expires === Number.POSITIVE_INFINITY ? -1 : entry.expires - now();
    },
    keys: () => [...entries.keys()].filter((key) => read(key)),
    clear(): string {
      entries.clear();
      return "OK";
    },
  };
}
