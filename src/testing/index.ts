import type { Locker, LockOptions } from "../api.ts";
import { LockOptionError, show } from "../errors.ts";
import { newLocker } from "../locker.ts";
import { defaults, readOptions } from "../options/lock-options.ts";
import { checkNames } from "../options/rules.ts";
import { connect } from "../redis/connection.ts";
import { restClient } from "../redis/rest.ts";
import { realRuntime } from "../runtime.ts";
import { fetchOf } from "./fetch.ts";
import { createMemory, type Failing, type Failure, type Memory } from "./memory.ts";

export type { Failure } from "./memory.ts";

/** A locker whose locks are in memory, and which fails when it is told to. */
export interface MemoryLocker extends Locker, Failing {}

/**
 * A locker that keeps its locks in memory, for unit tests of code that takes locks: nothing to start, and no
 * request is sent. Lockers made apart share nothing. Time is `Date.now()`, so fake timers are honoured.
 *
 * @example
 * const locker = memoryLocker();
 * const handler = middy().use(lockMiddleware({ locker, key: "report" })).handler(work);
 * locker.fail("busy"); // or "lost", "unavailable"
 *
 * @throws LockOptionError when an option is wrong
 */
export function memoryLocker(options: LockOptions = {}): MemoryLocker {
  return lockerOn(createMemory(), options);
}

/** Locks in memory for handlers that make their own locker. */
export interface MemoryLocks extends Failing {
  /** A locker on the same memory, to hold what a handler is to find busy. */
  readonly locker: MemoryLocker;
  /** What a Worker's handler is to be given as `env`, or as a part of it. */
  readonly env: { UPSTASH_REDIS_REST_URL: string; UPSTASH_REDIS_REST_TOKEN: string };
  /** Gives back the environment and `fetch`. */
  restore(): void;
}

/**
 * Keeps in memory the locks of handlers that were wrapped before and make a locker of the environment themselves, until
 * `restore`. It answers what they send to `UPSTASH_REDIS_REST_URL` by `fetch`, and sets that variable and its token if
 * they are not set. Nothing reaches a Redis.
 *
 * @example
 * const memory = lockInMemory();
 * afterEach(() => memory.heal());
 * afterAll(() => memory.restore());
 *
 * @param options.url what the handlers' lockers are given, if it is not that of the environment
 * @throws LockOptionError when an option is wrong
 */
export function lockInMemory(options: { url?: string | undefined } = {}): MemoryLocks {
  checkNames(options, ["url"]);
  const { url } = options;
  const environment = globalThis.process?.env ?? {};
  const before = { ...environment };
  const env = {
    UPSTASH_REDIS_REST_URL: url ?? before.UPSTASH_REDIS_REST_URL ?? "http://memory.invalid",
    UPSTASH_REDIS_REST_TOKEN: before.UPSTASH_REDIS_REST_TOKEN ?? "memory",
  };
  // What no handler's locker could be given would never be asked.
  restClient(env.UPSTASH_REDIS_REST_URL, env.UPSTASH_REDIS_REST_TOKEN);
  const memory = createMemory();
  const realFetch = globalThis.fetch;
  Object.assign(environment, env);
  globalThis.fetch = fetchOf(memory, env.UPSTASH_REDIS_REST_URL, realFetch);
  const restore = () => {
    globalThis.fetch = realFetch;
    for (const name of Object.keys(env) as (keyof typeof env)[]) {
      if (before[name] === undefined) delete environment[name];
      else environment[name] = before[name];
    }
  };
  const { fail, heal, ...locker } = lockerOn(memory, {});
  return { locker: { ...locker, fail, heal }, env, fail, heal, restore };
}

function lockerOn(memory: Memory, options: LockOptions): MemoryLocker {
  const connection = connect(memory, realRuntime);
  const locker = newLocker(() => connection, readOptions(defaults, options));
  return {
    ...locker,
    fail(how) {
      if (!failures.includes(how))
        throw new LockOptionError("how", show(how), failures.map((each) => show(each)).join(" or "));
      memory.fail(how);
    },
    heal: () => memory.heal(),
  };
}

const failures: Failure[] = ["busy", "lost", "unavailable"];
