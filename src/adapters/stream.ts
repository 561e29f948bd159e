import { lossOf } from "../locker.ts";
import { whenAborted } from "../runtime.ts";
import type { Taken } from "./run.ts";

/** A lock under which something is streamed, ended once. One that tells less of itself is only ended. */
export type Streamed = Taken<{ readonly signal?: AbortSignal; readonly held?: boolean }>;

/** What is read of a stream: the reader of a web stream, or what acts like one. */
export interface Reader {
  read(): Promise<{ done: boolean; value?: unknown }>;
  /** Settles once the stream has ended or failed. */
  readonly closed: Promise<unknown>;
  cancel(reason?: unknown): Promise<unknown>;
}

/**
 * Ties a lock to what is still streamed under it: the lock is renewed only while that gets on, and what is streamed is
 * stopped when the lock is lost, or its `signal` option aborts.
 */
export function tie({ lock, finish, pace }: Streamed, stop: (reason: unknown) => void) {
  let failing: Promise<never> | undefined;
  /** Ends the lock, and then fails what is streamed. The first reason counts. */
  const fail = (reason: unknown): void => {
    failing ??= finish(false).then(() => Promise.reject(reason));
    failing.catch(() => {});
    stop(reason);
  };
  pace();
  // One that has aborted by now did not keep the work from its result.
  if (!lock.signal?.aborted)
    whenAborted(lock.signal, () => {
      if (lossOf(lock)) finish(true).catch(fail);
      // Not released by the work itself: what it goes on with is not wanted any more.
      else if (lock.held) fail(lock.signal?.reason);
    });
  return { end: (success: boolean) => failing ?? finish(success), fail };
}

/**
 * Reads a stream under a lock that ends before the stream's end is told: as a success when it was read to its end, or
 * nobody wanted to read it; as a failure when it failed, or was left on the way. Nothing is buffered.
 * @param leaving aborts when its reader has left, who may not say so in another way
 */
export function readUnder(reader: Reader, taken: Streamed, leaving?: AbortSignal) {
  /** Whether anybody began to read it: making it may be work, too. */
  let begun = false;
  // Not waited for: it may never settle. What it throws changes nothing.
  const { end, fail } = tie(taken, (reason) => void reader.cancel(reason).catch(() => {}));
  const over = reader.closed.catch(fail).then(() => end(true));
  /** Ends the lock and the stream, whose reader wants no more. */
  const leave = (reason: unknown): Promise<void> => {
    const ended = end(!begun);
    fail(reason);
    return ended;
  };
  const forget = whenAborted(leaving, () => leave(leaving?.reason).catch(() => {}));
  over.catch(() => {}).then(forget);
  return {
    /** The next chunk, or that there is none any more. */
    async next() {
      begun = true;
      taken.progress();
      const chunk = await reader.read().catch(() => undefined);
      if (chunk && !chunk.done) {
        taken.progress();
        return chunk;
      }
      // A stream that failed, a reader that left and a lock that was lost make it fail.
      await over;
      return { done: true, value: null };
    },
    leave,
    /** Settles once the lock has ended. */
    over,
  };
}

/** A web stream in the reader's place, under a lock. */
export function webStream(...reading: Parameters<typeof readUnder>): ReadableStream<Uint8Array> {
  const { next, leave } = readUnder(...reading);
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await next();
        if (done) controller.close();
        else controller.enqueue(value as Uint8Array);
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  );
}
