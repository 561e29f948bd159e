import { LockError } from "../errors.ts";

/** There is a result under this key, of work for another input: 422. */
export class ResultMismatchError extends LockError {
  protected static override readonly code = "LOCK_RESULT_MISMATCH";
  override name = "ResultMismatchError";
  readonly code = "LOCK_RESULT_MISMATCH";
  readonly statusCode = 422;
  declare readonly key: string;

  constructor(key: string) {
    super(key, "The key was used before, for another input");
  }
}
