import { extendScript } from "../../src/protocol/extend.ts";
import { joinScript } from "../../src/protocol/join.ts";
import { releaseScript } from "../../src/protocol/release.ts";
import type { Engine } from "./engine.ts";
import { Keyspace } from "./keyspace.ts";

type Words = string[];

/**
 * The commands and scripts of the protocol once more, in JavaScript: some forty times as fast, so that most
 * histories of a run can be played on it. What it does has to be what the real scripts do, reply for reply and key
 * for key: equivalence.test.ts.
 */
export function createModelEngine(): Engine {
  const data = new Keyspace();
  const engine = {
    get now() {
      return data.now;
    },
    set now(ms: number) {
      data.now = ms;
    },
    onPublish: (_channel: string, _message: string) => {},
    listening: new Set<string>(),
    command: async (name: string, ...args: Words) => command(name, args),
  };

  const drop = (keys: Words, member: string) => {
    data.remove(keys[1] as string, member);
    data.remove(keys[2] as string, member);
  };

  /** Gives the lock to the first live waiter. Returns what it put there. */
  function pass(keys: Words): string | undefined {
    const [lock, queue, alive] = keys as [string, string, string];
    for (;;) {
      const [first] = data.range(queue);
      if (!first) return undefined;
      const [member, ticket] = first;
      let left = (data.score(alive, member) ?? 0) - data.now;
      drop(keys, member);
      if (left <= 0) continue;
      let mark = data.left(queue) === -2 ? ":" : "!";
      const channel = `sl:${member.slice(0, 18)}`;
      if (!engine.listening.has(channel)) {
        mark = "?";
        left = Math.max(left - 1500, 500);
      }
      engine.onPublish(channel, `${ticket}${mark}`);
      data.set(lock, `sl${mark}${member}`, left);
      return `sl${mark}${member}`;
    }
  }

  function join(keys: Words, [value, lease, ago]: Words): unknown {
    const [lock, queue, alive, gone, fence] = keys as [string, string, string, string, string?];
    const me = (value as string).slice(3);
    const ttl = Number(lease);
    const above = (last: number | undefined) => Math.max(data.now, (last ?? 0) + 1);
    let held = data.get(lock);
    const ours = () => held?.slice(3) === me;
    if (ago !== "" && data.get(gone) !== undefined) return ["", 0];

    let ticket: number | undefined;
    let place = 0;
    let stay = 0;
    if (ago !== "" && !ours()) {
      ticket = data.score(queue, me) ?? above(data.range(queue).at(-1)?.[1]) - Number(ago);
      data.add(queue, ticket, me);
      place = data.range(queue).findIndex(([member]) => member === me);
      stay = 2500 + Math.max(1250, Math.min(6250, place * 250));
      data.add(alive, Math.max(data.score(alive, me) ?? 0, data.now + stay), me);
      data.expire(queue, 20_000);
      data.expire(alive, 20_000);
    }
    held ??= pass(keys);
    if (held === undefined) {
      held = `sl:${me}`;
      data.set(lock, held, ttl);
    } else if (ours()) {
      drop(keys, me);
      if (data.left(lock) < ttl) data.expire(lock, ttl);
    }
    if (ours()) {
      if (fence === undefined) return [held, 0];
      const last = data.get(fence);
      const drawn = `${above(last === undefined ? undefined : Number(last))}`;
      data.set(fence, drawn, 86_400_000);
      return [held, 0, drawn];
    }
    if (ticket === undefined) return [held, data.left(lock)];
    if (/^sl:[^:]+:\d+:/.test(held)) {
      held = `sl!${held.slice(3)}`;
      data.set(lock, held);
    }
    return [held, data.left(lock), `${ticket}`, place, stay];
  }

  function release(keys: Words, [value, mark]: Words): number {
    const [lock, , , gone] = keys as [string, string, string, string];
    const me = (value as string).slice(3);
    if (mark !== "") {
      drop(keys, me);
      if (mark !== "0") data.set(gone, "1", Number(mark));
    }
    if (data.get(lock)?.slice(3) !== me) return 0;
    if (data.get(lock)?.[2] === ":" || pass(keys) === undefined) data.delete(lock);
    return 1;
  }

  function extend([lock]: Words, [value, next, ttl, shared]: Words): string | number {
    const held = data.get(lock as string) ?? "";
    if (![value, next].some((each) => each?.slice(3) === held.slice(3))) return 0;
    if (shared === "1" && data.left(lock as string) > Number(ttl)) return held;
    data.set(lock as string, held.slice(0, 3) + next?.slice(3), Number(ttl));
    return held;
  }

  const scripts = new Map<string, (keys: Words, args: Words) => unknown>([
    [joinScript, join],
    [releaseScript, release],
    [extendScript, extend],
  ]);

  function command(name: string, args: Words): unknown {
    const [key, value, option, ...more] = args as [string, string, string?, ...string[]];
    switch (name) {
      case "EVAL": {
        if (key.startsWith("#!")) throw new Error("ERR Unexpected flag in script shebang");
        const script = scripts.get(key);
        if (!script) throw new Error("the model does not know this script");
        const keys = 2 + Number(value);
        return script(args.slice(2, keys), args.slice(keys));
      }
      case "SET": {
        // SET key value [NX [GET]] PX ms: all that is ever asked for.
        if (option !== "NX" && option !== "PX") throw new Error("ERR syntax error");
        const held = data.get(key);
        const get = more[0] === "GET";
        if (option === "NX" && held !== undefined) return get ? held : null;
        data.set(key, value, Number(more.at(-1)));
        return get ? null : "OK";
      }
      case "GET":
        return data.get(key) ?? null;
      case "DEL":
        return data.delete(key);
      case "PTTL":
        return data.left(key);
      case "KEYS":
        return data.keys();
      case "ZRANGE":
        return data.range(key).flat();
      case "FLUSHALL":
        data.clear();
        return "OK";
      default:
        throw new Error(`ERR unknown command '${name}'`);
    }
  }

  return engine;
}
