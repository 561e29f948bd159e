import { ReplyError } from "../redis/client.ts";
import type { Answer, Asker, Connection } from "../redis/connection.ts";

/**
 * Runs a script. Its first line keeps Upstash from locking the whole database for it; every key it touches
 * must be in `keys`. A stock Redis refuses that line, and is not shown it again.
 */
export async function runScript(
  connection: Connection,
  script: string,
  keys: string[],
  args: (string | number)[],
  requestTimeout: number,
  asker?: Asker,
): Promise<Answer> {
  const flag = connection.lacks.has("key locking") ? "" : "#!lua flags=allow-key-locking\n";
  try {
    return await connection.ask(
      ["EVAL", flag + script, keys.length, ...keys, ...args],
      requestTimeout,
      asker,
    );
  } catch (error) {
    if (!flag || !(error instanceof ReplyError) || !/shebang|compiling/i.test(error.message)) throw error;
    connection.lacks.add("key locking");
    return runScript(connection, script, keys, args, requestTimeout, asker);
  }
}

/**
 * Asks a plain command, or undefined where the server does not have it (Redis before 8.4 has no `DELEX` and
 * no `SET … IFEQ`, Redis before 7 no `SET … NX GET`), which it is asked for only once.
 */
export async function tryCommand(
  connection: Connection,
  needs: "compare" | "take",
  command: (string | number)[],
  requestTimeout: number,
  asker?: Asker,
): Promise<Answer | undefined> {
  if (connection.lacks.has(needs)) return undefined;
  try {
    return await connection.ask(command, requestTimeout, asker);
  } catch (error) {
    const unknown = /^ERR (unknown command|syntax error|command is not available)/i;
    if (!(error instanceof ReplyError) || !unknown.test(error.message)) throw error;
    connection.lacks.add(needs);
    return undefined;
  }
}

/** A reply that Redis would not give to this command. Names its kind only: it may hold a token. */
export function unexpected(reply: unknown): Error {
  const kind = reply === null ? "null" : Array.isArray(reply) ? "an array" : `a ${typeof reply}`;
  return new Error(`an answer that is none: ${kind}`);
}
