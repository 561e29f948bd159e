import { type Command, ReplyError } from "../redis/client.ts";
import type { Answer, Asker } from "../redis/connection.ts";
import { ask, type Claim } from "./claim.ts";

/**
 * Asks a plain command, or undefined where the server does not have it, which it is asked for only once.
 * Redis before 8.4 has no `DELEX` and no `SET … IFEQ` ("compare"), Redis before 7 no `SET … NX GET` ("take").
 */
export function tryCommand(claim: Claim, needs: "compare" | "take", command: Command, asker?: Asker) {
  const unknown = /^ERR (unknown command|syntax error|command is not available)/i;
  return ifSupported(claim, needs, unknown, () => ask(claim, command, asker));
}

/**
 * Runs a script. Its first line keeps Upstash from locking the whole database for it; every key it touches
 * must be in `keys`. A stock Redis refuses that line, and is not shown it again.
 */
export async function runScript(
  claim: Claim,
  script: string,
  keys: string[],
  args: (string | number)[],
  asker?: Asker,
): Promise<Answer> {
  const run = (text: string) => ask(claim, ["EVAL", text, keys.length, ...keys, ...args], asker);
  const flagged = () => run(`#!lua flags=allow-key-locking\n${script}`);
  return (await ifSupported(claim, "key locking", /shebang|compiling|near '#'/i, flagged)) ?? run(script);
}

async function ifSupported(
  { connection }: Claim,
  feature: string,
  refusal: RegExp,
  attempt: () => Promise<Answer>,
): Promise<Answer | undefined> {
  if (connection.lacks.has(feature)) return undefined;
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof ReplyError) || !refusal.test(error.message)) throw error;
    connection.lacks.add(feature);
    return undefined;
  }
}
