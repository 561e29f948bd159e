import { acquire } from "./acquire/acquire.ts";
import type {
  Door,
  Lock,
  Locker,
  LockerOptions,
  LockSettings,
  Settings,
  Targets,
  WithLockOptions,
  Work,
} from "./api.ts";
import { LockBusyError, LockLostError, LockOptionError, LockUnavailableError, show } from "./errors.ts";
import { readHandle } from "./lease/handle.ts";
import { resumeLock } from "./lease/held-lock.ts";
import { defaults, readOptions } from "./options/lock-options.ts";
import { readTargets, redisKey, type Wanted } from "./options/targets.ts";
import { newAttempt } from "./protocol/attempt.ts";
import { gone } from "./protocol/protocol.ts";
import { type Connection, connect } from "./redis/connection.ts";
import { restClient } from "./redis/rest.ts";
import { upstashClient } from "./redis/upstash.ts";
import { forever, realRuntime } from "./runtime.ts";
import { withoutTokens } from "./unavailable.ts";

/**
 * The environment is read when the first lock is taken, so that a module can be loaded without it.
 * @throws LockOptionError when an option is wrong. The first lock throws one if no URL and token are to be found.
 */
export function createLocker(options: LockerOptions = {}): Locker {
  const settings = readOptions(defaults, options, connectionOptions);
  const open = () => connect(readClient(options), realRuntime);
  let connection = connectionOptions.some((name) => options[name] !== undefined) ? open() : undefined;
  return newLocker(() => {
    connection ??= open();
    return connection;
  }, settings);
}

export function newLocker(connection: () => Connection, settings: Settings): Locker {
  const take = async (targets: readonly Wanted[], asked: Settings) => {
    checkFencing(targets, asked);
    return acquire(newAttempt(connection(), asked, targets));
  };
  const acquireLock: Locker["acquire"] = async (key, options) =>
    take(readTargets(key), readOptions(settings, options));

  return {
    options: Object.freeze({ ...settings }),
    acquire: acquireLock,
    tryAcquire: (key, options) =>
      acquireLock(key, options).catch((error) => {
        if (error instanceof LockBusyError) return null;
        throw error;
      }),
    async withLock<T>(key: Targets, ...rest: [Work<T>] | [WithLockOptions, Work<T>]): Promise<T> {
      const work = rest.pop();
      if (typeof work !== "function") throw new LockOptionError("work", show(work), "a function");
      const targets = readTargets(key);
      const asked = readOptions({ ...settings, renew: settings.renew ?? forever }, rest[0]);
      const lock = await take(targets, asked);
      const finish = finisher(lock, { ...asked, holdFor: longestWindow(targets, asked) });
      let result: T;
      try {
        result = await work(lock);
      } catch (error) {
        await finish(false);
        throw error;
      }
      await finish(true);
      return result;
    },
    resume(handle, options) {
      const { targets, tokens, prefix, owner, ttl, ...grant } = readHandle(handle);
      // A window that the locker has by default is in the handle, unless the lock has none or it is over.
      const asked = readOptions({ ...settings, prefix, owner, ttl, holdFor: 0 }, options);
      for (const [name, value] of Object.entries({ prefix, owner }))
        if (asked[name as "prefix" | "owner"] !== value)
          throw new LockOptionError(name, "another than the handle's", "none: the handle has it");
      // The window counts from acquire. Of two that are given, the shorter holds.
      const inWindow = targets.map(({ holdFor: left = 0, ...target }) => {
        return { ...target, holdFor: Math.min(left || asked.holdFor, asked.holdFor || left) };
      });
      return resumeLock(newAttempt(connection(), asked, inWindow, tokens), grant);
    },
    run: (operation) => operation(doorOf(connection(), settings)),
  };
}

function doorOf(connection: Connection, settings: Settings): Door {
  return {
    settings,
    connection,
    redisKey: (key) => redisKey(settings.prefix, key),
    async ask(key, command) {
      try {
        return (await connection.ask(command, settings.requestTimeout)).reply;
      } catch (error) {
        throw new LockUnavailableError(key, withoutTokens(error, []));
      }
    },
  };
}

/** A later permit's or reader's token would make a live neighbour stale. */
export function checkFencing(targets: readonly Wanted[], { fencing }: Settings): void {
  if (fencing && !targets.every(({ mode }) => mode === "x" || mode === "1"))
    throw new LockOptionError("fencing", "true", 'false with mode "shared" or a limit above 1');
}

/** The longest time in ms for which a success keeps one of the targets. */
export function longestWindow(targets: readonly Wanted[], { holdFor }: Pick<Settings, "holdFor">): number {
  return Math.max(...targets.map((target) => target.holdFor ?? holdFor));
}

/**
 * Releases a lock after its work. An error of the work wins over all others.
 * @throws LockLostError if the work succeeded and the lock was lost meanwhile
 * @throws LockUnavailableError if it succeeded and the lock could not be kept for `holdFor`: it may be done again
 */
export type Finish = (success: boolean) => Promise<void>;

/** Makes the `Finish` of a lock, before its work starts: the one place that says which error wins. */
export function finisher(lock: Lock, { holdFor, onLost }: Pick<LockSettings, "holdFor" | "onLost">): Finish {
  // Not with `ifUnavailable: "proceed"`: what was never held cannot be lost.
  const { held } = lock;
  const sinceAcquired = realRuntime.sinceNow();
  return async (success) => {
    let stillHeld = true;
    try {
      stillHeld = await lock.release({ failed: !success });
    } catch (error) {
      // Without a window to keep, the work is done all the same. An event tells of the release.
      if (success && holdFor > sinceAcquired()) throw error;
    }
    if (!success || onLost === "ignore") return;
    const loss = lossOf(lock) ?? (held && !stillHeld && new LockLostError(lock.key, gone));
    if (loss) throw loss;
  };
}

/** Why the lock was lost, if that is known. */
export function lossOf({ signal }: Partial<Pick<Lock, "signal">>): LockLostError | undefined {
  return signal?.aborted && signal.reason instanceof LockLostError ? signal.reason : undefined;
}

export const connectionOptions = ["url", "token", "redis"] as const;

function readClient({ url, token, redis }: LockerOptions) {
  if (redis === undefined) return restClient(url, token);
  if (url !== undefined || token !== undefined) {
    throw new LockOptionError("redis", "also a url or token", "either redis, or url and token");
  }
  return upstashClient(redis);
}
