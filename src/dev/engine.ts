import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import type { Command } from "./command.ts";
import { configCommand } from "./config-command.ts";
import { startEmbedded } from "./embedded.ts";
import {
  conditionalCommands,
  type Extensions,
  inTurn,
  isAnswer,
  noExtensions,
  type Prepared,
  singleAnswers,
} from "./extensions.ts";
import { functionTwins } from "./functions.ts";
import { monitorOfEmbedded, openMonitor } from "./monitor.ts";
import type { OptionalPackages } from "./optional-packages.ts";
import { createReplicaWait, type ReplicaWait, waitsForReplicas } from "./replication.ts";
import type { RedisValue, Reply } from "./reply.ts";
import { flagsForEmbedded, withoutLockingFlag } from "./script-flags.ts";
import { createGuard } from "./script-guard.ts";
import { runsScript, type ScriptWatch, watchScripts } from "./script-watch.ts";
import { rewriteScripts } from "./scripts.ts";
import { upstashAnswers } from "./upstash-answers.ts";

/** The Redis behind the server: one given by URL or the embedded one, both spoken to in the same way. */
export interface Engine {
  url: string;
  /** Runs the commands one after the other, each with its own answer. */
  run(commands: Command[]): Promise<Outcome<Reply[]>>;
  /** Runs them in MULTI and EXEC. One error when the transaction was discarded. */
  transact(commands: Command[]): Promise<Outcome<Reply[] | { error: string }>>;
  /** Whether the command leaves all as it is. When in doubt, no. */
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

export interface EngineOptions {
  /** The URL of a Redis. Without it, the embedded engine is started. */
  redis: string | undefined;
  /** Where the embedded engine keeps its data. Without it, nowhere. */
  file: string | undefined;
  /** Whether to make up for what Upstash has and the engine lacks. */
  extensions: boolean;
  /** Answers what is not the engine's matter. */
  answers: Extensions;
}

export async function openEngine(
  packages: OptionalPackages,
  { redis, file, extensions, answers }: EngineOptions,
): Promise<Engine> {
  const embedded = redis === undefined ? await startEmbedded(packages, file) : undefined;
  const url = redis ?? (embedded?.url as string);
  const closers: (() => unknown)[] = [() => embedded?.close()];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const main = await connect(packages, url);
    closers.push(() => main.disconnect());
    // Where MONITOR is refused, a script is billed as one command.
    const watch = openedOnce(async () => {
      const monitor = embedded
        ? monitorOfEmbedded(embedded.monitorFeed)
        : await openMonitor(await connect(packages, url));
      return monitor && watchScripts(main, monitor, randomUUID());
    });
    closers.push(watch.close);
    // Conditions are made up for as a whole, so that all of them are of one kind.
    const native = await hasConditions(main);
    const conditions = extensions && !native;
    // The embedded engine's own FCALL_RO needs no twins, and its functions may have any flag.
    const twins = extensions && !embedded;
    const guard = rewriteScripts(createGuard({ embedded: embedded !== undefined, conditions, twins }));
    const prepare = [
      answers,
      configCommand,
      // First of those that change scripts: what comes after it adds scripts of its own, which need no guard.
      guard,
      ...(extensions ? [upstashAnswers] : []),
      ...(twins ? [functionTwins] : []),
      ...(conditions ? [conditionalCommands] : []),
      ...(native ? [singleAnswers] : []),
      ...(extensions ? [await scriptFlags(main, embedded !== undefined)] : []),
    ].reduce(inTurn, noExtensions);
    // The embedded engine has no replicas, and answers at once.
    const replicas = embedded ? undefined : createReplicaWait(() => connect(packages, url), reply);
    closers.push(() => replicas?.close());
    const readOnly = await readOnlyCommands(main);
    return {
      url,
      ...runner(main, watch.get, prepare, replicas),
      onlyReads: ([name, subcommand = ""]) =>
        readOnly.has(name.toLowerCase()) || readOnly.has(`${name} ${subcommand}`.toLowerCase()),
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
function runner(
  main: Redis,
  watch: () => Promise<ScriptWatch | undefined>,
  prepare: Extensions,
  replicas: ReplicaWait | undefined,
) {
  const send = (command: Command) => reply(main, command);

  const watchFor = (commands: Command[]) => (commands.some(runsScript) ? watch() : undefined);

  async function runBatch(commands: Command[]): Promise<Outcome<Reply[]>> {
    const watching = await watchFor(commands);
    const prepared = commands.map(prepare);
    const replies = prepared.map(({ send: what }) => (isAnswer(what) ? what : send(what)));
    const calls = watching?.calls();
    const answer = await answers(await Promise.all(replies), prepared);
    return { answer, calls: (await calls) ?? [] };
  }

  async function run(commands: Command[]): Promise<Outcome<Reply[]>> {
    const next = replicas ? commands.findIndex(waitsForReplicas) : -1;
    if (!replicas || next === -1) return runBatch(commands);
    // What stands before it has to be written first, and what comes after it has to wait for it.
    const before = await runBatch(commands.slice(0, next));
    const waited = await replicas.wait(commands[next] as Command);
    const after = await run(commands.slice(next + 1));
    return {
      answer: [...before.answer, waited, ...after.answer],
      calls: [...before.calls, ...after.calls],
    };
  }

  async function transact(commands: Command[]): Promise<Outcome<Reply[] | { error: string }>> {
    const watching = await watchFor(commands);
    const prepared = commands.map(prepare);
    const invalid = prepared.find(({ send: what }) => isAnswer(what) && "error" in what)?.send;
    if (invalid && "error" in invalid) return { answer: discarded(invalid.error), calls: [] };
    // An answer that needs no engine keeps its place.
    const asked = prepared.filter(({ send: what }) => !isAnswer(what));
    const queued = [send(["MULTI"]), ...asked.map(({ send: what }) => send(what as Command)), send(["EXEC"])];
    const calls = watching?.calls();
    const replies = await Promise.all(queued);
    const answer = await transactionAnswer(replies, asked);
    if ("error" in answer) return { answer, calls: (await calls) ?? [] };
    const rest = answer.values();
    return {
      answer: prepared.map(({ send: what }) => (isAnswer(what) ? what : (rest.next().value as Reply))),
      calls: (await calls) ?? [],
    };
  }

  function answers(replies: Reply[], prepared: Prepared[]): Promise<Reply[]> {
    return Promise.all(replies.map((item, i) => prepared[i]?.answer(item, send) ?? item));
  }

  async function transactionAnswer(
    replies: Reply[],
    prepared: Prepared[],
  ): Promise<Reply[] | { error: string }> {
    const exec = replies.at(-1) as Reply;
    if ("error" in exec) {
      // The first error while queueing says what was wrong; that of EXEC only that something was.
      const cause = replies.slice(1, -1).findIndex((item) => "error" in item);
      const queueing = replies[cause + 1];
      if (cause === -1 || !queueing) return exec;
      const [answer] = await answers([queueing], [prepared[cause] as Prepared]);
      return answer && "error" in answer ? discarded(answer.error) : exec;
    }
    const values = Array.isArray(exec.result) ? exec.result : [];
    const items = values.map(
      (value): Reply => (value instanceof Error ? { error: value.message } : { result: value }),
    );
    return answers(items, prepared);
  }

  return { run, transact };
}

/** Opened by whoever first needs it: a Redis with a MONITOR tells it every command, and this process reads them all. */
function openedOnce(open: () => Promise<ScriptWatch | undefined>) {
  let opened: Promise<ScriptWatch | undefined> | undefined;
  return {
    /** Undefined where it cannot be had. */
    get() {
      opened ??= open().catch(() => {
        // It may be had the next time.
        opened = undefined;
        return undefined;
      });
      return opened;
    },
    async close() {
      (await opened)?.close();
    },
  };
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

async function connect(packages: OptionalPackages, url: string): Promise<Redis> {
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
  });
  let last: Error | undefined;
  // Without a listener, ioredis prints each error; a request that meets one is answered with it.
  redis.on("error", (error: Error) => {
    last = error;
  });
  try {
    await redis.connect();
    await redis.ping();
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

const asItIs = (text: string) => text;

/** Asked by commands that leave nothing behind. Valkey has IFEQ alone. */
async function hasConditions(main: Redis): Promise<boolean> {
  const missing = `serverless-lock:${randomUUID()}`;
  const digest = "0".repeat(16);
  const replies = await Promise.all([
    reply(main, ["DIGEST", missing]),
    ...["IFEQ", "IFNE", "IFDEQ", "IFDNE"].map((condition) =>
      reply(main, ["DELEX", missing, condition, digest]),
    ),
    // XX keeps them from creating the key.
    ...["IFEQ", "IFNE", "IFDEQ", "IFDNE"].map((condition) =>
      reply(main, ["SET", missing, "", condition, digest, "XX"]),
    ),
  ]);
  return replies.every((answer) => "result" in answer);
}

/** Takes out of a script's first line what this engine does not know, and Upstash does. */
async function scriptFlags(main: Redis, embedded: boolean): Promise<Extensions> {
  if (embedded) return rewriteScripts(flagsForEmbedded);
  const asked = await reply(main, ["EVAL", "#!lua flags=allow-key-locking\nreturn 1", "0"]);
  if ("result" in asked) return noExtensions;
  return rewriteScripts({ script: withoutLockingFlag, library: asItIs, undo: asItIs });
}

/** Those that COMMAND says so of, and those that it does not know, or has no flag for. */
async function readOnlyCommands(main: Redis): Promise<Set<string>> {
  const names = new Set([
    ...["ping", "echo", "time", "dbsize", "digest", "memory usage", "xinfo stream", "xinfo groups"],
    ...["xinfo consumers", "pubsub channels", "pubsub numsub", "pubsub numpat"],
  ]);
  const all = await main.call("COMMAND").catch(() => []);
  for (const [name, , flags] of all as [string, number, string[]][]) {
    // A script that may not write may still publish, and be kept. The embedded engine says of INFO that it reads.
    const reads = flags.includes("readonly") && !flags.includes("admin");
    if (reads && !RUNS_CODE.test(name)) names.add(name.toLowerCase());
  }
  return names;
}

const RUNS_CODE = /^(eval|evalsha|fcall)_ro$/i;
