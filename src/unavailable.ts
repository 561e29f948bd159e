import { LockUnavailableError, printable } from "./errors.ts";
import { emit } from "./events.ts";
import type { Attempt } from "./protocol/attempt.ts";

/** The error for a lock about which nothing is known. */
export function unavailable(attempt: Attempt, cause: unknown): LockUnavailableError {
  const error = new LockUnavailableError(attempt.key, withoutToken(cause, attempt.token));
  emit(attempt, { type: "unavailable", error });
  return error;
}

/** What an error says, its code and its cause, and nothing else of it: clients quote commands, lock tokens included. */
function withoutToken(error: unknown, token: string, depth = 0): Error | undefined {
  if (error === undefined || depth > 4) return undefined;
  const { message = error, code, cause } = Object(error) as NodeJS.ErrnoException;
  const clean = (text: unknown) => printable(`${text}`.replaceAll(token, "[token]"));
  const copy = new Error(clean(message), { cause: withoutToken(cause, token, depth + 1) });
  return code === undefined ? copy : Object.assign(copy, { code: clean(code) });
}
