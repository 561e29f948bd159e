import type { LockEvent } from "./api.ts";
import { LockUnavailableError, printable } from "./errors.ts";
import { emit } from "./events.ts";
import type { Attempt } from "./protocol/attempt.ts";
import type { Since } from "./runtime.ts";

type Step = Extract<LockEvent, { type: "unavailable" }>["step"];

/**
 * The error for locks about which nothing is known, once the listener was told.
 * @param took ms since it was asked
 */
export function unavailable(attempt: Attempt, cause: unknown, step: Step, took: Since): LockUnavailableError {
  const tokens = attempt.claims.map(({ token }) => token);
  const error =
    cause instanceof LockUnavailableError
      ? cause
      : new LockUnavailableError(attempt.key, withoutTokens(cause, tokens));
  emit(attempt, { type: "unavailable", error, step, took: took() });
  return error;
}

/** What an error says, its code and its cause, and nothing else of it: clients quote commands, lock tokens included. */
export function withoutTokens(error: unknown, tokens: readonly string[], depth = 0): Error | undefined {
  if (error === undefined || depth > 4) return undefined;
  const { message = error, code, cause } = Object(error) as NodeJS.ErrnoException;
  const clean = (text: unknown) =>
    printable(tokens.reduce((said, token) => said.replaceAll(token, "[token]"), `${text}`));
  const copy = new Error(clean(message), { cause: withoutTokens(cause, tokens, depth + 1) });
  return code === undefined ? copy : Object.assign(copy, { code: clean(code) });
}
