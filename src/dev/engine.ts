import { randomUUID } from "node:crypto";
import type { Redis, RedisOptions } from "ioredis";
import type { Command } from "./command.ts";
import { startEmbedded } from "./embedded.ts";
import {
  createExtensions,
  type Extensions,
  type Features,
  inTurn,
  noExtensions,
  withoutLockingFlag,
} from "./extensions.ts";
import { isMonitoring, type Monitor, monitorOf, monitorOfEmbedded } from "./monitor.ts";
import type { OptionalPackages } from "./optional-packages.ts";
import type { RedisValue, Reply } from "./reply.ts";
import { guardScript, withoutGuard } from "./script-guard.ts";
import { runsScript, type ScriptWatch, watchScripts } from "./script-watch.ts";
import { rewriteScripts } from "./scripts.ts";

/** The Redis behind the server: one given by URL or the embedded one, both spoken to in the same way. */
export interface Engine {
  url: string;
  /** Runs the commands one after the other, each with its own answer. */
  run(commands: Command[]): Promise<Outcome<Reply[]>>;
  /** Runs them in MULTI and EXEC. One error when the transaction was discarded. */
  transact(commands: Command[]): Promise<Outcome<Reply[] | { error: string }>>;
  /** Whether the command leaves all data as it is. When in doubt, no. */
  onlyReads(command: Command): boolean;
  /** One more connection to the same Redis, for subscriptions. */
  connectAnother(): Promise<Redis>;
  close(): Promise<void>;
}

interface Outcome<T> {
  answer: T;
  /** The names of the commands that scripts called. */
  calls: string[];
}

/** Redis cannot be asked at the moment. What this says must not look like an error of Redis, which begins with ERR. */
export class EngineUnreachable extends Error {}

export async function openEngine(
  packages: OptionalPackages,
  redis: string | undefined,
  extensions: boolean,
): Promise<Engine> {
  const embedded = redis === undefined ? await startEmbedded(packages) : undefined;
  const url = redis ?? (embedded?.url as string);
  const closers: (() => unknown)[] = [() => embedded?.close()];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const main = await connect(packages, url);
    closers.push(() => main.disconnect());
    const monitor = embedded ? monitorOfEmbedded(embedded.monitorFeed) : await openMonitor(packages, url);
    const watch = monitor && watchScripts(main, monitor, randomUUID());
    closers.push(() => watch?.close());
    const extended = extensions ? await extensionsFor(main) : noExtensions;
    const guarded = rewriteScripts({
      script: (text) => guardScript(text, "script"),
      library: (text) => guardScript(text, "library"),
      undo: withoutGuard,
    });
    const prepare = embedded ? extended : inTurn(guarded, extended);
    const readOnly = await readOnlyCommands(main);
    return {
      url,
      ...runner(main, watch, prepare),
      onlyReads: (command) => readOnly.has(command[0].toLowerCase()),
      connectAnother: () => connect(packages, url),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * All of one batch is written in one go, in the same turn of the event loop: so nobody else's command comes between a
 * MULTI and its EXEC, nor between a script and the mark that its calls are counted up to.
 */
function runner(main: Redis, watch: ScriptWatch | undefined, prepare: typeof noExtensions) {
  const send = (command: Command) => reply(main, command);

  async function run(commands: Command[]): Promise<Outcome<Reply[]>> {
    const prepared = commands.map(prepare);
    const replies = prepared.map(({ send: what }) => ("error" in what ? what : send(what)));
    const calls = commands.some(runsScript) ? watch?.calls() : undefined;
    const answer = (await Promise.all(replies)).map((item, i) => prepared[i]?.answer(item) ?? item);
    return { answer, calls: (await calls) ?? [] };
  }

  async function transact(commands: Command[]): Promise<Outcome<Reply[] | { error: string }>> {
    const prepared = commands.map(prepare);
    const invalid = prepared.find(({ send: what }) => "error" in what);
    if (invalid && "error" in invalid.send) return { answer: discarded(invalid.send.error), calls: [] };
    const queued = [
      send(["MULTI"]),
      ...prepared.map(({ send: what }) => send(what as Command)),
      send(["EXEC"]),
    ];
    const calls = commands.some(runsScript) ? watch?.calls() : undefined;
    const replies = await Promise.all(queued);
    return { answer: transactionAnswer(replies, prepared), calls: (await calls) ?? [] };
  }

  return { run, transact };
}

function transactionAnswer(
  replies: Reply[],
  prepared: ReturnType<typeof noExtensions>[],
): Reply[] | { error: string } {
  const exec = replies.at(-1) as Reply;
  if ("error" in exec) {
    // The first error while queueing says what was wrong; that of EXEC only that something was.
    const cause = replies.slice(1, -1).findIndex((item) => "error" in item);
    const queueing = replies[cause + 1];
    if (cause === -1 || !queueing) return exec;
    const answer = prepared[cause]?.answer(queueing) ?? queueing;
    return "error" in answer ? discarded(answer.error) : exec;
  }
  const values = Array.isArray(exec.result) ? exec.result : [];
  return values.map((value, i) => {
    const item: Reply = value instanceof Error ? { error: value.message } : { result: value };
    return prepared[i]?.answer(item) ?? item;
  });
}

function discarded(why: string): { error: string } {
  return { error: `EXECABORT Transaction discarded because of: ${why}` };
}

async function reply(redis: Redis, [name, ...args]: Command): Promise<Reply> {
  try {
    // In capitals: ioredis reshapes the replies (HGETALL) and arguments (MSET) of names that it knows in lower case.
    return { result: (await redis.callBuffer(name.toUpperCase(), ...args)) as RedisValue };
  } catch (error) {
    if (isRedisError(error)) return { error: error.message };
    throw new EngineUnreachable(`Redis cannot be reached: ${(error as Error).message}`);
  }
}

/** An error that Redis itself answered with, as against one about the connection. */
function isRedisError(error: unknown): error is Error {
  return error instanceof Error && error.name === "ReplyError";
}

async function connect(packages: OptionalPackages, url: string, options: RedisOptions = {}): Promise<Redis> {
  const redis = new packages.Redis(url, {
    lazyConnect: true,
    // Integers as their digits: above 2^53 a number would be another one. Strings come as Buffers.
    stringNumbers: true,
    // A command is sent once or refused at once: kept for later or sent again, it could run unasked or twice.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    connectTimeout: 5_000,
    retryStrategy: (attempt) => Math.min(50 * attempt, 1_000),
    disableClientInfo: true,
    ...options,
  });
  let last: Error | undefined;
  // Without a listener, ioredis prints each error; a request that meets one is answered with it.
  redis.on("error", (error: Error) => {
    last = error;
  });
  try {
    await redis.connect();
    if (!options.monitor) await redis.ping();
    return redis;
  } catch (error) {
    redis.disconnect();
    const why = last ?? (error as Error);
    throw new Error(`Redis at ${addressIn(url)} cannot be used: ${why.message}`, { cause: why });
  }
}

/** Where a Redis is, without its password. */
function addressIn(url: string): string {
  const { protocol, hostname, port, pathname } = new URL(url);
  return protocol === "unix:" ? pathname : `${hostname || "localhost"}:${port || 6379}`;
}

/** Undefined where MONITOR is refused, by an ACL for instance: then a script is billed as one command. */
async function openMonitor(packages: OptionalPackages, url: string): Promise<Monitor | undefined> {
  const monitor = await connect(packages, url, { monitor: true, enableReadyCheck: false });
  const allowed = await new Promise<boolean>((resolve) => {
    monitor.once("monitoring", () => resolve(true));
    monitor.once("error", () => resolve(false));
    if (isMonitoring(monitor)) resolve(true);
  });
  if (allowed) return monitorOf(monitor);
  monitor.disconnect();
  return undefined;
}

const asItIs = (text: string) => text;

/** Makes up for what the engine lacks. It is asked by commands that leave nothing behind. */
async function extensionsFor(main: Redis): Promise<Extensions> {
  const missing = `serverless-lock:${randomUUID()}`;
  const works = async (...command: Command) => "result" in (await reply(main, command));
  const [delex, setIfEq, allowKeyLocking, echo] = await Promise.all([
    works("DELEX", missing, "IFEQ", ""),
    works("SET", missing, "", "IFEQ", ""),
    works("EVAL", "#!lua flags=allow-key-locking\nreturn 1", "0"),
    works("ECHO", ""),
  ]);
  const extended = createExtensions({ delex, setIfEq, echo } satisfies Features);
  if (allowKeyLocking) return extended;
  return inTurn(extended, rewriteScripts({ script: withoutLockingFlag, library: asItIs, undo: asItIs }));
}

async function readOnlyCommands(main: Redis): Promise<Set<string>> {
  const names = new Set(["ping", "echo", "time", "publish"]);
  const all = await main.call("COMMAND").catch(() => []);
  for (const [name, , flags] of all as [string, number, string[]][]) {
    if (flags.includes("readonly")) names.add(name);
  }
  return names;
}
