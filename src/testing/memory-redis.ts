import type { Operation } from "../protocol/script.ts";
import {
  decodePlain,
  decodeState,
  encodePlain,
  encodeState,
  type Holder,
  queueRoom,
  type State,
  type Waiter,
} from "../protocol/state.ts";
import {
  askedTogether,
  fenceLife,
  lostRequestMargin,
  pollAtLeastEvery,
  pollEvery,
  pollLaterPerPlace,
  shortestGrant,
  unheardCut,
} from "../protocol/timing.ts";

const empty: State = { ticket: 0, until: 0, limit: 1, holders: [], waiters: [] };

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
  const operations = { join, release, extend };

  function command(name: string, ...args: string[]): unknown {
    const [key = "", value = "", option, compared] = args;
    switch (name) {
      case "GET":
        return data.get(key) ?? null;
      case "SET":
        return set(args);
      case "DEL":
        return data.delete(key);
      case "DELEX":
        return option === "IFEQ" && data.get(key) === compared ? data.delete(key) : 0;
      case "PTTL":
        return data.left(key);
      case "KEYS":
        return data.keys();
      case "FLUSHALL":
        return data.clear();
      case "EVAL": {
        // The script's text says nothing here: it is made small when the package is built.
        const operation = operations[args.at(-1) as Operation];
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

  function join(keys: string[], [token = "", owner = "", lease, asked = ""]: string[]): unknown {
    const [lock = "", besideKey = "", tombstone = "", fenceKey] = keys;
    const [now, ttl] = [world.now(), Number(lease)];
    if (data.get(tombstone) !== undefined) return [0, ":", 0, 0];
    const there = data.get(lock);
    const beside = data.get(besideKey);
    const own = open(lock);
    const waiting = own?.waiters.length ? own : open(besideKey);
    const desk = openDesk({ ...(waiting ?? empty), holders: own?.holders ?? [] });
    const stand = () => (asked === "" ? undefined : desk.stand(token, owner, Number(asked)));

    if (there !== undefined && !own) {
      const left = data.left(lock);
      const stay = stand();
      if (stay) desk.write(besideKey);
      return [0, ":", left, 1, ...(stay ?? [])];
    }

    const store = () => {
      if (beside !== undefined) data.delete(besideKey);
      return desk.write(lock);
    };
    const hold = (until: number, since: number) => {
      desk.setHolder(token, until, since, owner);
      const value = store();
      if (fenceKey === undefined) return [1, value];
      const fence = Math.max(now, Number(data.get(fenceKey) ?? 0) + 1);
      data.set(fenceKey, `${fence}`, fenceLife);
      return [1, value, fence];
    };

    const holding = desk.holder();
    if (holding?.token === token) return hold(Math.max(holding.until, now + ttl), holding.since);
    const stay = stand();
    const { granted, passed } = desk.pass();
    if (!desk.holder() || granted?.token === token) return hold(now + ttl, now);
    if (stay || granted) {
      store();
      desk.tell(lock, granted);
    }
    const { until, owner: busyOwner } = desk.holder() as Holder;
    const busy = [0, `:${busyOwner}`, until - now, 0];
    return stay ? [...busy, stay[0], stay[1] - passed, stay[2]] : busy;
  }

  function release(
    [lock = "", besideKey = "", tombstone = ""]: string[],
    [token = "", ms]: string[],
  ): number {
    const own = open(lock);
    const desk = openDesk(own ?? open(besideKey));
    const ours = desk.holder()?.token === token;
    if (ours) desk.state.holders = [];
    if (desk.takeOut(token) || ours) {
      const granted = own && desk.pass().granted;
      desk.write(own ? lock : besideKey);
      desk.tell(lock, granted);
    }
    if (ms !== "0") data.set(tombstone, "1", Number(ms));
    return ours ? 1 : 0;
  }

  function extend([lock = ""]: string[], [token, lease, next = "", keepsLonger]: string[]): unknown {
    const desk = openDesk(open(lock));
    const held = desk.holder();
    if (!held || (held.token !== token && held.token !== next)) return 0;
    const longer = keepsLonger === "1" ? held.until : 0;
    desk.setHolder(next, Math.max(longer, world.now() + Number(lease)), held.since, held.owner);
    return desk.write(lock);
  }

  /** A plain value is opened as a state of one holder. Undefined for another library's. */
  function open(key: string): State | undefined {
    const value = data.get(key) ?? "";
    const plain = decodePlain(value);
    if (!plain) return decodeState(value);
    const until = world.now() + data.left(key);
    return { ...empty, holders: [{ ...plain, mode: "x", weight: 1, until }], waiters: [] };
  }

  /** A state that is being changed: what the scripts' prelude does. */
  function openDesk(opened: State = empty) {
    const state = { ...opened, waiters: [...opened.waiters] };
    const now = world.now();
    const holder = (): Holder | undefined => state.holders[0];

    function setHolder(token: string, until: number, since: number, owner: string): void {
      state.holders = [{ token, mode: "x", weight: 1, until, since, owner }];
    }

    function write(key: string): string {
      const held = holder();
      if (state.waiters.length > 0) {
        data.set(key, encodeState(state), Math.max(held?.until ?? 0, state.until) - now);
        return "s2!";
      }
      if (!held) {
        data.delete(key);
        return "";
      }
      const { token, until, since, owner } = held;
      const value = encodePlain({ token, lease: until - now, since, owner });
      data.set(key, value, until - now);
      return value;
    }

    function pass(): { granted: Waiter | undefined; passed: number } {
      const held = holder();
      if (held && held.until > now) return { granted: undefined, passed: 0 };
      state.holders = [];
      const next = state.waiters.findIndex(({ until }) => until > now);
      const passed = next < 0 ? state.waiters.length : next + 1;
      const granted = state.waiters.splice(0, passed)[next];
      if (granted) setHolder(granted.token, granted.until, now, granted.owner);
      return { granted, passed };
    }

    function tell(key: string, granted: Waiter | undefined): void {
      if (!granted) return;
      const { token, ticket, until, owner } = granted;
      const left = until - now;
      const mark = state.waiters.length > 0 ? "!" : `:${left}:${now}`;
      if (world.publish(`sl:${token.slice(0, 18)}`, `${ticket}${mark}`) > 0) return;
      setHolder(token, now + Math.max(left - unheardCut, shortestGrant), now, owner);
      write(key);
    }

    /** False when it does not wait. */
    function takeOut(token: string): boolean {
      const index = state.waiters.findIndex((waiter) => waiter.token === token);
      if (index >= 0) state.waiters.splice(index, 1);
      return index >= 0;
    }

    /** Returns ticket, place and stay; undefined where there is no room. */
    function stand(token: string, owner: string, ago: number): [number, number, number] | undefined {
      let waiter = state.waiters.find((each) => each.token === token);
      if (!waiter) {
        if (!hasRoom()) return undefined;
        const since = now - ago;
        state.ticket = Math.max(now, state.ticket + 1);
        const entry = { token, mode: "x", weight: 1, owner };
        waiter = { ...entry, ticket: state.ticket, until: 0, since };
        state.waiters.splice(newPlace(since), 0, waiter);
      }
      const place = state.waiters.indexOf(waiter);
      const pause = Math.max(pollEvery, Math.min(pollAtLeastEvery, place * pollLaterPerPlace));
      const stay = lostRequestMargin + pause;
      waiter.until = Math.max(waiter.until, now + stay);
      state.until = Math.max(state.until, waiter.until);
      return [waiter.ticket, place, stay];
    }

    function newPlace(asked: number): number {
      const later = ({ since }: Waiter) => since > asked + askedTogether && since <= now;
      return state.waiters.findLastIndex((waiter) => !later(waiter)) + 1;
    }

    function hasRoom(): boolean {
      const size = () => new TextEncoder().encode(encodeState({ ...state, holders: [] })).length - headSize();
      const headSize = () => `s2!${state.ticket} ${state.until} ${state.limit}`.length;
      if (size() >= queueRoom) state.waiters = state.waiters.filter(({ until }) => until > now);
      return size() < queueRoom;
    }

    return { state, holder, setHolder, write, pass, tell, takeOut, stand };
  }

  return { command };
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
    /** Ms until it expires; -2 where it is not. */
    left(key: string): number {
      const entry = read(key);
      return entry ? entry.expires - now() : -2;
    },
    keys: () => [...entries.keys()].filter((key) => read(key)),
    clear(): string {
      entries.clear();
      return "OK";
    },
  };
}
