import { type Locker, newLocker } from "./locker.ts";
import { defaults, type LockOptions, readOptions } from "./options.ts";
import { extendScript } from "./protocol/extend.ts";
import { joinScript } from "./protocol/join.ts";
import { releaseScript } from "./protocol/release.ts";
import type { RedisClient } from "./redis/client.ts";
import { connect } from "./redis/connection.ts";
import { forever, realRuntime } from "./time.ts";

/**
 * A locker that keeps its locks in memory, for unit tests of code that takes locks: nothing to start, and no
 * request is sent. Lockers made apart share nothing. Time is `Date.now()`, so fake timers are honoured.
 *
 * @example
 * const locker = memoryLocker();
 * const handler = middy().use(lockMiddleware({ locker, key: "report" })).handler(work);
 *
 * @throws LockOptionError when an option is wrong
 */
export function memoryLocker(options: LockOptions = {}): Locker {
  return newLocker(connect(memoryClient(), realRuntime), readOptions(defaults, options));
}

interface Waiter {
  member: string;
  ticket: number;
  alive: number;
}

/** What the commands and scripts of the protocol do, on maps instead of Redis. */
function memoryClient(): RedisClient {
  const entries = new Map<string, { value: string; expires: number }>();
  const queues = new Map<string, Waiter[]>();
  const listeners = new Map<string, (message: string) => void>();

  const get = (key: string): string | undefined => {
    const entry = entries.get(key);
    if (entry && entry.expires > Date.now()) return entry.value;
    entries.delete(key);
  };
  const left = (key: string) => (entries.get(key)?.expires ?? 0) - Date.now();
  const set = (key: string, value: string, ms: number) =>
    entries.set(key, { value, expires: Date.now() + ms });
  const queueOf = (key: string) => (queues.get(key) ?? []).filter(({ alive }) => alive > Date.now());
  const drop = (key: string, member: string) => {
    const rest = queueOf(key).filter((waiter) => waiter.member !== member);
    if (rest.length > 0) queues.set(key, rest);
    else queues.delete(key);
  };

  function pass(key: string): void {
    entries.delete(key);
    const [first, ...others] = queueOf(key);
    if (!first) return;
    drop(key, first.member);
    const mark = others.length > 0 ? "!" : ":";
    set(key, `sl${mark}${first.member}`, first.alive - Date.now());
    listeners.get(`sl:${first.member.slice(0, 18)}`)?.(`${first.ticket}${mark}`);
  }

  function stand(key: string, member: string): { ticket: number; place: number; stay: number } {
    const queue = queueOf(key);
    let waiter = queue.find((each) => each.member === member);
    if (!waiter) {
      waiter = { member, ticket: Math.max(Date.now(), (queue.at(-1)?.ticket ?? 0) + 1), alive: 0 };
      queue.push(waiter);
    }
    queues.set(key, queue);
    const place = queue.indexOf(waiter);
    const stay = 2500 + Math.max(1250, Math.min(6250, place * 250));
    waiter.alive = Math.max(waiter.alive, Date.now() + stay);
    return { ticket: waiter.ticket, place, stay };
  }

  function join(
    key: string,
    gone: string,
    fence: string | undefined,
    value: string,
    ttl: number,
    standing: boolean,
  ) {
    const member = value.slice(3);
    if (standing && get(gone)) return ["", 0];
    if (!get(key) && queueOf(key).length > 0) {
      if (standing) stand(key, member);
      pass(key);
    }
    if (!get(key)) set(key, value, ttl);
    const held = get(key) as string;
    if (held.slice(3) === member) {
      drop(key, member);
      set(key, held, Math.max(ttl, left(key)));
      if (fence === undefined) return [held, 0];
      const drawn = Math.max(Date.now(), Number(get(fence) ?? 0) + 1);
      set(fence, `${drawn}`, 86_400_000);
      return [held, 0, drawn];
    }
    if (!standing) return [held, left(key)];
    const marked = `sl!${held.slice(3)}`;
    set(key, marked, left(key));
    const { ticket, place, stay } = stand(key, member);
    return [marked, left(key), `${ticket}`, place, stay];
  }

  function release(key: string, gone: string, value: string, mark: string): number {
    const member = value.slice(3);
    if (mark !== "") drop(key, member);
    if (Number(mark) > 0) set(gone, "1", Number(mark));
    const held = get(key);
    if (held?.slice(3) !== member) return 0;
    if (held[2] === ":") entries.delete(key);
    else pass(key);
    return 1;
  }

  function extend(key: string, value: string, next: string, ttl: number, shared: boolean): string | number {
    const held = get(key) ?? "";
    if (![value, next].some((each) => each.slice(3) === held.slice(3))) return 0;
    if (shared && left(key) > ttl) return held;
    set(key, held.slice(0, 3) + next.slice(3), ttl);
    return held;
  }

  function execute([name, ...words]: string[]): unknown {
    const [first = "", value = "", option, third = "", , ms = ""] = words;
    if (name === "DELEX") return get(first) === third && entries.delete(first) ? 1 : 0;
    if (name === "SET" && option === "NX") {
      const held = get(first);
      if (held === undefined) set(first, value, Number(ms));
      return held ?? null;
    }
    if (name === "SET") return get(first) === third && set(first, value, Number(ms)) ? "OK" : null;

    const keys = words.slice(2, 2 + Number(value)) as [string, string, string, string, string?];
    const [one = "", two = "", three = "", four = ""] = words.slice(2 + Number(value));
    if (first.endsWith(joinScript)) return join(keys[0], keys[3], keys[4], one, Number(two), three !== "");
    if (first.endsWith(releaseScript)) return release(keys[0], keys[3], one, two);
    if (first.endsWith(extendScript)) return extend(keys[0], one, two, Number(three), four === "1");
    throw new Error(`the memory locker does not know ${name}`);
  }

  return {
    exact: true,
    resendsAfter: forever,
    send: async (command) => execute(command.map(String)),
    async listen(channel, hear, signal) {
      listeners.set(channel, hear);
      hear("");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      listeners.delete(channel);
    },
  };
}
