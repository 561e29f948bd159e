/** One Redis command: its name and its arguments. */
export type Command = readonly (string | number)[];

/** How a command reaches Redis. All the core knows of a client. */
export interface RedisClient {
  /**
   * Sends one command once and resolves to the reply. Rejects with a `RefusedError` when the server refused the
   * command; any other rejection leaves open whether it was executed.
   */
  send(command: Command, signal: AbortSignal): Promise<unknown>;
  /**
   * Hands on what is published on a channel, after an empty text once the server has confirmed the subscription,
   * until the signal aborts. Settles when the stream has ended, if it learns of that.
   */
  listen(channel: string, hear: (message: string) => void, signal: AbortSignal): Promise<void>;
  /**
   * Infinity when every reply, nil included, is the server's own to this very request. Otherwise the client may
   * make up a nil, or send a request again on its own once this many ms have passed.
   */
  readonly resendsAfter: number;
}

/** The server refused the command or the token: it executed nothing, and asking again would not change that. */
export class RefusedError extends Error {}
