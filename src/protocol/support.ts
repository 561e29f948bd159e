import { capped } from "../invocation.ts";
import { type Command, isFull, RefusedError } from "../redis/client.ts";
import type { Answer } from "../redis/connection.ts";
import { forever } from "../runtime.ts";
import type { Attempt } from "./attempt.ts";
import { type Operation, protocolScript } from "./script.ts";

/**
 * What a server says of a command, or of a script's first line, that it does not know. Of a WAIT behind it that says nothing.
 */
const unknown = /(unknown command|command is not available)(?!\W*wait)|syntax error|shebang|near '#'/i;

/** What a cluster says of keys that lie on several nodes. */
const crossSlot = /^CROSSSLOT/;

/** How an attempt asks. */
export interface Asking {
  /** To take the lock: the request ends with the `signal` option, and is collected when it is given up. */
  taking?: boolean;
  /** In half the time, repetitions included: so that a wait ends when it should. */
  waiting?: boolean;
  /** What it writes counts only once so many replicas confirmed it as are wanted. */
  confirmed?: boolean;
}

/** Who asks. A remaining time of 0 sets no limit: a paced renewal says 0, and its release is sent all the same. */
export type Asker = Pick<Attempt, "connection" | "settings" | "abandoned"> &
  Partial<Pick<Attempt, "remainingTime">>;

/** Asks Redis something about the attempt's lock. */
export function ask(asker: Asker, command: Command, asking: Asking = {}): Promise<Answer> {
  const { taking, waiting, confirmed } = asking;
  const { connection, settings, abandoned } = asker;
  // Less of the caller's time is left than when it began.
  const { requestTimeout } = capped(settings, asker.remainingTime?.() || forever);
  const limit = requestTimeout / (waiting ? 2 : 1);
  const replicas = confirmed ? settings.replicas : undefined;
  return connection.ask(command, limit, { replicas, ...(taking && { signal: settings.signal, abandoned }) });
}

/**
 * Asks a command, or undefined if the server does not have it, which it is asked for only once.
 * Redis before 8.4 has no `DELEX` and no `SET … IFEQ` ("compare"), before 7 no `SET … NX GET` ("get").
 */
export async function tryCommand(
  asker: Asker,
  needs: "compare" | "flags" | "get",
  command: Command,
  asking?: Asking,
): Promise<Answer | undefined> {
  const { unsupported } = asker.connection;
  if (unsupported.has(needs)) return undefined;
  try {
    return await ask(asker, command, asking);
  } catch (error) {
    if (!(error instanceof RefusedError && unknown.test(error.message))) throw error;
    unsupported.add(needs);
    return undefined;
  }
}

/** Runs an operation of the protocol's script. */
export function runScript(
  attempt: Attempt,
  operation: Operation,
  keys: string[],
  args: (string | number)[],
  asking?: Asking,
): Promise<Answer> {
  return evaluate(attempt, protocolScript(), keys, [...args, operation], asking);
}

/**
 * Runs a script. Its first line keeps Upstash from locking the whole database for it; every key it
 * touches must be in `keys`. A stock Redis refuses that line, and is not shown it again ("flags").
 */
export async function evaluate(
  asker: Asker,
  script: string,
  keys: readonly string[],
  args: readonly (string | number)[],
  asking?: Asking,
): Promise<Answer> {
  const command = (text: string) => ["EVAL", text, keys.length, ...keys, ...args];
  const flagged = command(`#!lua flags=allow-key-locking\n${script}`);
  // A Redis that is full runs no script with a first line; without one it runs what needs no memory.
  const answer = await tryCommand(asker, "flags", flagged, asking).catch(ifFull);
  return answer ?? ask(asker, command(script), asking);
}

/**
 * Asks something about several locks in one request. Undefined on a cluster, which refuses keys of several slots; it is
 * not asked again ("several").
 */
export async function askTogether<Each, T>(
  { connection }: Pick<Attempt, "connection">,
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
  asker: Pick<Attempt, "connection">,
  locks: readonly Each[],
  run: (locks: readonly Each[]) => Promise<T>,
): Promise<T[]> {
  const together = await askTogether(asker, locks, async (all) => [await run(all)]);
  if (together) return together;
  const each = locks.map((lock) => run([lock]));
  await Promise.allSettled(each);
  return Promise.all(each);
}

/** Undefined for a command that was refused since Redis is full: what needs no memory may still be executed. */
export function ifFull(error: unknown): undefined {
  if (!isFull(error)) throw error;
}
