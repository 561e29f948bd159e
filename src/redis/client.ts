/** One Redis command: its name and its arguments. */
export type Command = readonly (string | number)[];

/** How a command reaches Redis. All the core knows of a client. */
export interface RedisClient {
  /**
   * Sends commands once, one after another, and resolves to their replies. Rejects with a `RefusedError` when the server
   * refused one of them; any other rejection leaves open whether they were executed.
   */
  send(commands: readonly Command[], signal: AbortSignal): Promise<unknown[]>;
  /**
   * Hands on what is published on a channel, after an empty text once the server has confirmed the subscription,
   * until the signal aborts. Settles when the stream has ended, if it learns of that.
   */
  listen(channel: string, hear: (message: string) => void, signal: AbortSignal): Promise<void>;
  /** Whether every reply, nil included, is the server's own, and an aborted request has ended. */
  readonly exact: boolean;
  /** After so many ms the client, or what it runs on, may have sent a request again on its own. */
  readonly resendsAfter: number;
}

/**
 * The server refused the command or the token, and asking again would not change that. It executed nothing of a plain
 * command; a script may have failed half-way.
 */
export class RefusedError extends Error {}

/**
 * What Redis says when it cannot serve at the moment, or Upstash over a quota. Within a script's error the code of the
 * command that failed stands behind the line's number (Redis 6) or in front of all (Redis 7).
 */
const momentary =
  /^(ERR .*user_script:? ?\d+: -?)?(READONLY|BUSY|LOADING|TRYAGAIN|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|NOMASTERLINK|UNBLOCKED|MISCONF) |^ERR max (.*limit|concurrent connections) exceeded|^ERR max number of clients/is;

/** The error for what Redis said: "refused", unless asking again may help, for then nothing is known. */
export function errorOf(said: string): Error {
  return momentary.test(said) ? new Error(said) : new RefusedError(said);
}

/** Whether an error says that Redis has no memory left, or Upstash no room in its plan. */
export function isFull(error: unknown): boolean {
  return (
    error instanceof RefusedError && /^OOM |: -?OOM |^ERR DB capacity quota exceeded/.test(error.message)
  );
}
