import type { HeldLock } from "../lock.ts";
import { whenAborted } from "../time.ts";
import type { End } from "./run.ts";

/**
 * Ties a lock to what is still streamed under it: it is renewed only while `progress` is called.
 * @param lose called with the error to tell when the lock is lost, or its `signal` option aborts
 */
export function tie(end: End, lock: HeldLock | undefined, lose: (error: Error) => void) {
  let ended: Promise<void> | undefined;
  /** Ends the lock, the first time it is called. What is streamed fails with the failure, if there is one. */
  const finish = (success: boolean, ...failure: unknown[]): Promise<void> => {
    ended ??= failure.length ? end(success).then(() => Promise.reject(failure[0])) : end(success);
    return ended;
  };
  // One that has aborted by now did not keep the work from its result.
  if (lock && !lock.signal.aborted)
    whenAborted(lock.signal, () => {
      if (lock.lost) finish(true).catch(lose);
      // Not released by the work itself: what it goes on with is not wanted any more.
      else if (lock.held) finish(false, lock.signal.reason).catch(lose);
    });
  return { finish, progress: lock?.renewOnProgress() ?? (() => {}) };
}

/**
 * A stream in the source's place, that ends the lock before it closes: as a success when it was read to its end, or
 * nobody wanted to read it; as a failure when it failed, or was left on the way. Nothing is buffered.
 * @param leaving aborts when its reader has left, who may not say so in another way
 */
export function holdingWeb(
  source: ReadableStream<Uint8Array>,
  end: End,
  lock: HeldLock | undefined,
  leaving?: AbortSignal,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  // Not waited for: it may never settle. What it throws changes nothing.
  const cancel = (reason: unknown) => void reader.cancel(reason).catch(() => {});
  const { finish, progress } = tie(end, lock, cancel);
  const over = reader.closed.then(
    () => finish(true),
    (error) => finish(false, error),
  );
  /** Whether anybody began to read it: making it may be work, too. */
  let begun = false;
  const forget = whenAborted(leaving, () => {
    finish(!begun, leaving?.reason);
    cancel(leaving?.reason);
  });
  over.catch(() => {}).then(forget);

  return new ReadableStream(
    {
      async pull(controller) {
        begun = true;
        progress();
        const chunk = await reader.read().catch(() => undefined);
        if (chunk && !chunk.done) {
          progress();
          return controller.enqueue(chunk.value);
        }
        // A source that failed, a reader that left and a lock that was lost make it fail.
        await over;
        controller.close();
      },
      async cancel(reason) {
        const ended = finish(!begun);
        cancel(reason);
        await ended;
      },
    },
    { highWaterMark: 0 },
  );
}
