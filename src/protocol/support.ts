import { type Command, isFull, RefusedError } from "../redis/client.ts";
import type { Answer, Asker } from "../redis/connection.ts";
import { ask, type Claim } from "./claim.ts";
import { type Operation, protocolScript } from "./script.ts";

/** What a server says of a command, or of a script's first line, that it does not know. */
const unknown = /unknown command|syntax error|command is not available|shebang|near '#'/i;

/**
 * Asks a command, or undefined where the server does not have it, which it is asked for only once.
 * Redis before 8.4 has no `DELEX` and no `SET … IFEQ` ("compare"), before 7 no `SET … NX GET` ("get").
 */
export async function tryCommand(
  claim: Claim,
  needs: "compare" | "flags" | "get",
  command: Command,
  asker?: Asker,
): Promise<Answer | undefined> {
  const { lacks } = claim.connection;
  if (lacks.has(needs)) return undefined;
  try {
    return await ask(claim, command, asker);
  } catch (error) {
    if (!(error instanceof RefusedError && unknown.test(error.message))) throw error;
    lacks.add(needs);
    return undefined;
  }
}

/**
 * Runs an operation of the script. Its first line keeps Upstash from locking the whole database for it; every key it touches
 * must be in `keys`. A stock Redis refuses that line, and is not shown it again ("flags").
 */
export async function runScript(
  claim: Claim,
  operation: Operation,
  keys: string[],
  args: (string | number)[],
  asker?: Asker,
): Promise<Answer> {
  const evaluate = (script: string) => ["EVAL", script, keys.length, ...keys, ...args, operation];
  const flagged = evaluate(`#!lua flags=allow-key-locking\n${protocolScript()}`);
  // A Redis that is full runs no script with a first line; without one it runs what needs no memory.
  const answer = await tryCommand(claim, "flags", flagged, asker).catch(ifFull);
  return answer ?? ask(claim, evaluate(protocolScript()), asker);
}

/** Undefined where a command was refused since Redis is full: what needs no memory may still be executed. */
export function ifFull(error: unknown): undefined {
  if (!isFull(error)) throw error;
}
