import { type Runtime, type Since, sleep, within } from "../runtime.ts";
import { type Command, type RedisClient, RefusedError } from "./client.ts";

/** A reply, and what has to be known about the requests that brought it. */
export interface Answer {
  reply: unknown;
  /** How many replicas confirmed what was written. Undefined if they were not asked. */
  confirmed: number | undefined;
  /** Since the request that was answered was sent. */
  sinceSent: Since;
  /** Whether the same command may have been executed before, by a request whose reply was lost. */
  repeated: boolean;
}

/** A request nobody waits for any more; it may still be executed. Resolves once it has settled or was ended. */
export type AbandonedRequest = Promise<void>;

/** How a request is sent. */
interface RequestOptions {
  /** Gives the request up. */
  signal?: AbortSignal | undefined;
  /** Collects requests that were given up. Without it, they are ended at once. */
  abandoned?: AbandonedRequest[];
  /** How many replicas are to confirm what is written. They have half the time of a request. */
  replicas?: number | undefined;
}

/** A client with time limits and repetitions, and what is known of its server. */
export interface Connection {
  readonly runtime: Runtime;
  /** Whether every reply, nil included, is the server's own. */
  readonly exact: boolean;
  /** What this server was found not to have, learnt from its errors. */
  readonly unsupported: Set<string>;
  /**
   * Asks Redis. Every command asked here is idempotent. What can come out:
   * - a reply;
   * - `RefusedError`: the server refused the command (it is not repeated);
   * - the reason of the signal: the request was given up, executed or not;
   * - any other error: nothing is known. It comes within twice `requestTimeout`.
   */
  ask(command: Command, requestTimeout: number, options?: RequestOptions): Promise<Answer>;
  readonly listen: RedisClient["listen"];
}

export function connect(client: RedisClient, runtime: Runtime): Connection {
  const { send, listen, exact, resendsAfter } = client;

  async function ask(command: Command, requestTimeout: number, options: RequestOptions = {}) {
    const { signal, abandoned, replicas } = options;
    const maxTries = 5;
    const sinceFirst = runtime.sinceNow();
    const left = () => 2 * requestTimeout - sinceFirst();
    signal?.throwIfAborted();
    for (let tries = 1; ; tries++) {
      const sinceSent = runtime.sinceNow();
      const limit = Math.min(requestTimeout, left());
      let late: Error | undefined;
      const onLate = () => (late = new Error(`no reply within ${Math.round(limit)} ms`));
      const request = new AbortController();
      const commands = replicas ? [command, ["WAIT", replicas, Math.ceil(limit / 2)]] : [command];
      const sending = send(commands, request.signal);
      try {
        const [reply, count] = (await within(runtime, sending, limit, onLate, signal)) as unknown[];
        const confirmed = replicas && (Number(count) || 0);
        return { reply, confirmed, sinceSent, repeated: tries > 1 || sinceSent() >= resendsAfter };
      } catch (error) {
        const { aborted } = signal ?? {};
        // An abandoned request is ended, unless they are collected: then it gets `requestTimeout` more. One that
        // cannot be aborted is followed to its end, however late.
        if (error === late || aborted) {
          const end = () => request.abort();
          if (!abandoned) end();
          else abandoned.push((exact ? within(runtime, sending, requestTimeout) : sending).then(end, end));
        }
        // Full jitter keeps a crowd that lost its replies at once from coming back at once.
        const pause = runtime.random() * 50 * 2 ** tries;
        if (error instanceof RefusedError || aborted || tries === maxTries || left() - pause < 10)
          throw error;
        await sleep(runtime, pause, signal);
        // A timer may be late.
        if (left() <= 0) throw error;
      }
    }
  }

  return { runtime, exact, unsupported: new Set(), ask, listen };
}
