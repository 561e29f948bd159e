import { elapsed, forever, type Moment, type Runtime, sleep, within } from "../time.ts";
import { type Command, type RedisClient, RefusedError } from "./client.ts";

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

/** A client with time limits and repetitions, and what is known of its server. */
export interface Connection {
  readonly runtime: Runtime;
  /** Whether every reply, nil included, is the server's own to the very request that was sent. */
  readonly exact: boolean;
  /** What this server was found not to have, learnt from its errors. */
  readonly lacks: Set<string>;
  /**
   * Asks Redis. Every command asked here is idempotent. What can come out:
   * - a reply;
   * - `RefusedError`: the server refused the command (it is not repeated);
   * - the reason of the asker's signal: the request was given up, executed or not;
   * - any other error: nothing is known. It comes within twice `requestTimeout`.
   */
  ask(command: Command, requestTimeout: number, asker?: Asker): Promise<Answer>;
  readonly listen: RedisClient["listen"];
}

export function connect({ send, listen, resendsAfter }: RedisClient, runtime: Runtime): Connection {
  async function ask(command: Command, requestTimeout: number, asker: Asker = {}): Promise<Answer> {
    const first = runtime.now();
    const left = () => 2 * requestTimeout - elapsed(runtime, first);
    for (let tries = 1; ; tries++) {
      const sent = runtime.now();
      try {
        const reply = await askOnce(command, Math.min(requestTimeout, left()), requestTimeout, asker);
        const resent = elapsed(runtime, sent) >= resendsAfter;
        return { reply, sent, repeated: tries > 1 || resent };
      } catch (error) {
        if (error instanceof RefusedError || asker.signal?.aborted) throw error;
        // Full jitter keeps a crowd that lost its replies at once from coming back at once.
        const pause = runtime.random() * 50 * 2 ** tries;
        if (tries === maxTries || left() - pause < 10) throw error;
        await sleep(runtime, pause, asker.signal);
      }
    }
  }

  /** One request. Past its limit it is ended, or left to the asker's stragglers for `grace` ms more. */
  async function askOnce(command: Command, limit: number, grace: number, { signal, stragglers }: Asker) {
    signal?.throwIfAborted();
    const request = new AbortController();
    const reply = send(command, request.signal);
    const late = new Error(`no reply within ${Math.round(limit)} ms`);
    try {
      const settled = await within(runtime, reply, limit, late, signal);
      if (settled === late) throw late;
      return settled;
    } catch (error) {
      if (error === late || signal?.aborted) {
        const end = () => request.abort();
        if (stragglers) stragglers.push(within(runtime, reply, grace, undefined).then(end, end));
        else end();
      }
      throw error;
    }
  }

  return { runtime, exact: resendsAfter === forever, lacks: new Set(), ask, listen };
}
