import { elapsed, type Moment, type Runtime, sleep, within } from "../time.ts";
import { type Command, type RedisClient, RefusedError, ReplyError } from "./client.ts";

/** A reply, and what has to be known about the requests that brought it. */
export interface Answer {
  reply: unknown;
  /** When the request that was answered was sent. */
  sent: Moment;
  /** Whether the same command may have been executed before, by a request whose reply was lost. */
  repeated: boolean;
}

/** A request nobody waits for any more; it may still be executed. Resolves once it has settled or was ended. */
export type Straggler = Promise<void>;

/** Who asks: its abort signal, and where requests that outlive the asking are left. */
export interface Asker {
  signal?: AbortSignal | undefined;
  stragglers?: Straggler[];
}

const maxTries = 5;

/**
 * Asks Redis with a time limit and repetitions. Every command asked here is idempotent. What can come out:
 * - a reply;
 * - `ReplyError`: Redis refused the command (it is not repeated);
 * - the reason of the asker's signal: the request was given up, executed or not;
 * - any other error: nothing is known. It comes within twice `requestTimeout`.
 */
export class Connection {
  readonly client: RedisClient;
  readonly runtime: Runtime;
  /** What this server was found not to have, learnt from its errors. */
  readonly lacks = new Set<string>();

  constructor(client: RedisClient, runtime: Runtime) {
    this.client = client;
    this.runtime = runtime;
  }

  async ask(command: Command, requestTimeout: number, asker: Asker = {}): Promise<Answer> {
    const { client, runtime } = this;
    const first = runtime.now();
    for (let tries = 1; ; tries++) {
      const sent = runtime.now();
      const limit = Math.min(requestTimeout, 2 * requestTimeout - elapsed(first, sent));
      try {
        const reply = await this.#send(command, limit, requestTimeout, asker);
        const resent = elapsed(sent, runtime.now()) >= client.resendsAfter;
        return { reply, sent, repeated: tries > 1 || resent };
      } catch (error) {
        if (asker.signal?.aborted) throw asker.signal.reason;
        if (error instanceof ReplyError || error instanceof RefusedError) throw error;
        // Full jitter keeps a crowd that lost its replies at once from coming back at once.
        const pause = runtime.random() * 50 * 2 ** tries;
        const left = 2 * requestTimeout - elapsed(first, runtime.now()) - pause;
        if (tries === maxTries || left < 10) throw error;
        await sleep(runtime, pause, asker.signal);
      }
    }
  }

  /** One request. Past its limit it is ended, or left to the asker's stragglers for one limit more. */
  async #send(command: Command, limit: number, grace: number, asker: Asker): Promise<unknown> {
    asker.signal?.throwIfAborted();
    const { runtime } = this;
    const request = new AbortController();
    const reply = this.client.send(command, request.signal);
    try {
      return await within(runtime, reply, limit, asker.signal, () => new LateError(limit));
    } catch (error) {
      if (error instanceof LateError || asker.signal?.aborted) {
        const end = () => request.abort();
        if (asker.stragglers)
          asker.stragglers.push(within(runtime, reply, grace, undefined, end).then(end, end));
        else end();
      }
      throw error;
    }
  }
}

class LateError extends Error {
  constructor(limit: number) {
    super(`no reply within ${Math.round(limit)} ms`);
  }
}
