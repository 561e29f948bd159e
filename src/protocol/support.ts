import { type Command, isFull, RefusedError } from "../redis/client.ts";
import type { Answer } from "../redis/connection.ts";
import type { Attempt } from "./attempt.ts";
import { type Operation, protocolScript } from "./script.ts";

/** What a server says of a command, or of a script's first line, that it does not know. */
const unknown = /unknown command|syntax error|command is not available|shebang|near '#'/i;

/** What a cluster says of keys that lie on several nodes. */
const crossSlot = /^CROSSSLOT/;

/** How an attempt asks. */
export interface Asking {
  /** To take the lock: the request ends with the `signal` option, and is collected when it is given up. */
  taking?: boolean;
  /** In half the time, repetitions included: so that a wait ends when it should. */
  waiting?: boolean;
}

/** Asks Redis something about the attempt's lock. */
export function ask(attempt: Attempt, command: Command, { taking, waiting }: Asking = {}): Promise<Answer> {
  const { connection, settings, abandoned } = attempt;
  const limit = settings.requestTimeout / (waiting ? 2 : 1);
  return connection.ask(command, limit, taking ? { signal: settings.signal, abandoned } : {});
}

/**
 * Asks a command, or undefined if the server does not have it, which it is asked for only once.
 * Redis before 8.4 has no `DELEX` and no `SET … IFEQ` ("compare"), before 7 no `SET … NX GET` ("get").
 */
export async function tryCommand(
  attempt: Attempt,
  needs: "compare" | "flags" | "get",
  command: Command,
  asking?: Asking,
): Promise<Answer | undefined> {
  const { unsupported } = attempt.connection;
  if (unsupported.has(needs)) return undefined;
  try {
    return await ask(attempt, command, asking);
  } catch (error) {
    if (!(error instanceof RefusedError && unknown.test(error.message))) throw error;
    unsupported.add(needs);
    return undefined;
  }
}

/**
 * Runs an operation of the script. Its first line keeps Upstash from locking the whole database for it; every key it
 * touches must be in `keys`. A stock Redis refuses that line, and is not shown it again ("flags").
 */
export async function runScript(
  attempt: Attempt,
  operation: Operation,
  keys: string[],
  args: (string | number)[],
  asking?: Asking,
): Promise<Answer> {
  const evaluate = (script: string) => ["EVAL", script, keys.length, ...keys, ...args, operation];
  const flagged = evaluate(`#!lua flags=allow-key-locking\n${protocolScript()}`);
  // A Redis that is full runs no script with a first line; without one it runs what needs no memory.
  const answer = await tryCommand(attempt, "flags", flagged, asking).catch(ifFull);
  return answer ?? ask(attempt, evaluate(protocolScript()), asking);
}

/**
 * Asks something about several locks in one request. Undefined on a cluster, which refuses keys of several slots; it is
 * not asked again ("several").
 */
export async function askTogether<Each, T>(
  { connection }: Attempt,
  locks: readonly Each[],
  run: (locks: readonly Each[]) => Promise<T>,
): Promise<T | undefined> {
  const { unsupported } = connection;
  if (locks.length > 1 && unsupported.has("several")) return undefined;
  try {
    return await run(locks);
  } catch (error) {
    if (!(locks.length > 1 && error instanceof RefusedError && crossSlot.test(error.message))) throw error;
    unsupported.add("several");
    return undefined;
  }
}

/** As `askTogether`; on a cluster each lock is asked about by itself. Rejects once all have settled. */
export async function askAll<Each, T>(
  attempt: Attempt,
  locks: readonly Each[],
  run: (locks: readonly Each[]) => Promise<T>,
): Promise<T[]> {
  const together = await askTogether(attempt, locks, async (all) => [await run(all)]);
  if (together) return together;
  const each = locks.map((lock) => run([lock]));
  await Promise.allSettled(each);
  return Promise.all(each);
}

/** Undefined for a command that was refused since Redis is full: what needs no memory may still be executed. */
export function ifFull(error: unknown): undefined {
  if (!isFull(error)) throw error;
}
