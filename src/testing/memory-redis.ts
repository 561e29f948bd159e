import type { Operation } from "../protocol/script.ts";
import {
  decodePlain,
  decodeState,
  encodePlain,
  encodeState,
  type Holder,
  queueRoom,
  type State,
  shortOwner,
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
  const operations = { join, release, dequeue, extend };

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
    const there = data.get(lock);
    if (data.get(tombstone) !== undefined) return [0, ":", 0, 0];

    const held = (value: string) => {
      if (fenceKey === undefined) return [1, value];
      const fence = Math.max(now, Number(data.get(fenceKey) ?? 0) + 1);
      data.set(fenceKey, `${fence}`, fenceLife);
      return [1, value, fence];
    };

    const plain = decodePlain(there ?? "");
    if (there !== undefined && plain?.token === token) {
      if (data.left(lock) < ttl) data.expire(lock, ttl);
      return held(there);
    }

    const own = there === undefined || plain ? undefined : decodeState(there);
    const beside = own ? undefined : data.get(besideKey);
    const desk = openDesk(own ?? decodeState(beside ?? ""));

    if (there !== undefined && !plain && !own) {
      const left = data.left(lock);
      const stay = asked === "" ? undefined : desk.stand(token, owner, Number(asked));
      if (stay) desk.write(besideKey);
      return [0, ":", left, 1, ...(stay ?? [])];
    }

    const store = () => {
      const value = desk.write(lock);
      if (beside !== undefined) data.delete(besideKey);
      return value;
    };
    if (plain) desk.setHolder(plain.token, now + data.left(lock), plain.since, shortOwner(plain.owner));
    const holding = desk.holder();
    if (holding?.token === token) {
      desk.setHolder(token, Math.max(holding.until, now + ttl), holding.since, shortOwner(owner));
      return held(store());
    }

    const stay = asked === "" ? undefined : desk.stand(token, owner, Number(asked));
    let { granted, passed } = desk.pass();
    if (granted?.token === token) {
      granted = undefined;
      desk.drop(token);
    }
    if (!desk.holder()) {
      desk.setHolder(token, now + ttl, now, desk.state.waiters.length === 0 ? owner : shortOwner(owner));
      return held(store());
    }
    if (stay || granted) {
      store();
      desk.tell(lock, granted);
    }
    const { until, owner: busyOwner } = desk.holder() as Holder;
    const busy = [0, `:${busyOwner}`, until - now, 0];
    return stay ? [...busy, stay[0], stay[1] - passed, stay[2]] : busy;
  }

  function release([lock = ""]: string[], [token]: string[]): number {
    const there = data.get(lock) ?? "";
    if (decodePlain(there)?.token === token) return data.delete(lock);
    const state = decodeState(there);
    if (state?.holders[0]?.token !== token) return 0;
    const desk = openDesk(state);
    desk.state.holders = [];
    const { granted } = desk.pass();
    desk.write(lock);
    desk.tell(lock, granted);
    return 1;
  }

  function dequeue(
    [lock = "", besideKey = "", tombstone = ""]: string[],
    [token = "", ms]: string[],
  ): number {
    const there = data.get(lock) ?? "";
    const state = decodeState(there);
    const beside = decodeState(data.get(besideKey) ?? "");
    let ours = 0;
    if (decodePlain(there)?.token === token) ours = data.delete(lock);
    else if (state) {
      const desk = openDesk(state);
      ours = desk.holder()?.token === token ? 1 : 0;
      if (desk.drop(token)) {
        const { granted } = desk.pass();
        desk.write(lock);
        desk.tell(lock, granted);
      }
    } else if (beside) {
      const desk = openDesk(beside);
      if (desk.drop(token)) desk.write(besideKey);
    }
    if (ms !== "0") data.set(tombstone, "1", Number(ms));
    return ours;
  }

  function extend([lock = ""]: string[], [token, lease, next = "", keepsLonger]: string[]): unknown {
    const now = world.now();
    const there = data.get(lock) ?? "";
    const state = decodeState(there);
    const held = decodePlain(there) ?? state?.holders[0];
    if (!held || (held.token !== token && held.token !== next)) return 0;
    const leaseEnd = state?.holders[0]?.until ?? now + data.left(lock);
    const desk = openDesk(state);
    const longer = keepsLonger === "1" ? leaseEnd : 0;
    desk.setHolder(next, Math.max(longer, now + Number(lease)), held.since, held.owner);
    return desk.write(lock);
  }

  /** A state that is being changed: what the scripts' prelude does. */
  function openDesk(state: State = { ticket: 0, until: 0, limit: 1, holders: [], waiters: [] }) {
    const now = world.now();
    const holder = (): Holder | undefined => state.holders[0];

    function setHolder(token: string, until: number, since: number, owner: string): void {
      state.holders = [{ token, mode: "x", weight: 1, until, since, owner }];
    }

    function write(key: string): string {
      const held = holder();
      const text = state.waiters.length > 0 ? encodeState(state) : undefined;
      if (text !== undefined) {
        data.set(key, text, Math.max(held?.until ?? 0, state.until) - now);
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

    function drop(token: string): boolean {
      const { waiters } = state;
      const index = waiters.findIndex((waiter) => waiter.token === token);
      if (index >= 0) waiters.splice(index, 1);
      else if (holder()?.token === token) state.holders = [];
      else return false;
      return true;
    }

    /** Returns ticket, place and stay; undefined where there is no room. */
    function stand(token: string, owner: string, ago: number): [number, number, number] | undefined {
      let waiter = state.waiters.find((each) => each.token === token);
      if (!waiter) {
        if (!hasRoom()) return undefined;
        const since = now - ago;
        state.ticket = Math.max(now, state.ticket + 1);
        const entry = { token, mode: "x", weight: 1, owner: shortOwner(owner) };
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

    return { state, holder, setHolder, write, pass, tell, drop, stand };
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
    expire(key: string, ms: number) {
      const entry = read(key);
      if (entry) entry.expires = now() + ms;
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
