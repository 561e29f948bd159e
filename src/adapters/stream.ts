import { finished, Readable } from "node:stream";
import type { HeldLock } from "../lock.ts";
import { whenAborted } from "../time.ts";
import type { End } from "./run.ts";

/**
 * A response whose body is a stream, or which is one itself, with that stream replaced by one that ends the lock before
 * it closes: as a success when it was read to its end, as a failure when it failed or was left. The lock is renewed
 * only while the stream gets on: nobody tells whether it is going to be read at all. If the lock is lost, the source is
 * destroyed and the reader is told. Nothing is buffered. Undefined for any other response.
 * @param lock undefined for one that is not renewed
 */
export function heldToEnd(response: unknown, end: End, lock?: HeldLock): unknown {
  const stream = holdingStream(response, end, lock);
  if (stream) return stream;
  const body = holdingStream((response as { body?: unknown } | null | undefined)?.body, end, lock);
  return body && withBody(response as object, body);
}

/** Ends the stream of a response that is not handed on. */
export function discard(response: unknown): void {
  const held = heldToEnd(response, async () => {}) as { body?: unknown } | undefined;
  for (const stream of [held, held?.body]) {
    if (stream instanceof Readable) stream.destroy();
    else if (stream instanceof ReadableStream) stream.cancel().catch(() => {});
  }
}

function holdingStream(stream: unknown, end: End, lock: HeldLock | undefined): object | undefined {
  if (typeof stream !== "object" || !stream) return undefined;
  if ("_readableState" in stream) return holdingNode(stream as object as Readable, end, lock);
  if ("getReader" in stream) return holdingWeb(stream as object as ReadableStream, end, lock);
  if (!(Symbol.asyncIterator in stream)) return undefined;
  // TypeScript's library does not know it yet.
  const { from } = ReadableStream as unknown as { from(source: object): ReadableStream };
  return holdingWeb(from(stream), end, lock);
}

/** The response itself, whatever its class, with another body; a copy of one that is frozen. */
function withBody(response: object, body: object): object {
  if (response instanceof Response) return new Response(body as ReadableStream, response);
  const property = { value: body, enumerable: true, configurable: true, writable: true };
  if (Reflect.defineProperty(response, "body", property)) return response;
  const properties = { ...Object.getOwnPropertyDescriptors(response), body: property };
  return Object.create(Object.getPrototypeOf(response), properties);
}

/**
 * Ties a lock to what is still streamed under it: it is renewed only while `progress` is called.
 * @param lose called with the error to tell when the lock is lost, or its `signal` option aborts
 */
export function tie(end: End, lock: HeldLock | undefined, lose: (error: Error) => void) {
  let ended: Promise<void> | undefined;
  let forget = () => {};
  /** Ends the lock, the first time it is called. */
  const finish = (success: boolean, failure?: Error): Promise<void> => {
    ended ??= failure ? end(success).then(() => Promise.reject(failure)) : end(success);
    forget();
    return ended;
  };
  forget = whenAborted(lock?.signal, () => {
    if (lock?.lost) finish(true).catch(lose);
    // Not released by the work itself: what it goes on with is not wanted any more.
    else if (lock?.held) finish(false, lock.signal.reason).catch(lose);
  });
  return { finish, progress: lock?.renewOnProgress() ?? (() => {}) };
}

function holdingNode(source: Readable, end: End, lock: HeldLock | undefined): Readable {
  let wanted = false;
  let failure: Error | undefined;

  const pump = () => {
    if (!wanted) return;
    const chunk = source.read();
    if (chunk === null) return;
    wanted = false;
    progress();
    held.push(chunk, source.readableEncoding ?? undefined);
  };
  const leave = () => {
    if (!source.readableEnded) source.destroy();
  };
  const fail = (error: Error) => {
    failure ??= error;
    leave();
    finish(false).catch(() => {});
    // An error that nobody listens for ends the process: whoever reads later is told then.
    if (wanted || held.listenerCount("error") > 0) held.destroy(failure);
  };
  const { finish, progress } = tie(end, lock, fail);

  const held: Readable = new Readable({
    objectMode: source.readableObjectMode,
    encoding: source.readableEncoding ?? undefined,
    highWaterMark: 0,
    read() {
      if (failure) {
        held.destroy(failure);
        return;
      }
      wanted = true;
      if (source.listenerCount("readable", pump) === 0) source.on("readable", pump);
      pump();
    },
    destroy(error, done) {
      leave();
      const destroyed = () => done(error);
      finish(false).then(destroyed, destroyed);
    },
  });
  // At once: a source may have failed already, and be about to say so.
  finished(source, { writable: false }, (error) => {
    if (held.destroyed) return;
    if (error) fail(error);
    else finish(true).then(() => held.push(null), fail);
  });
  return held;
}

function holdingWeb(
  source: ReadableStream,
  end: End,
  lock: HeldLock | undefined,
): ReadableStream | undefined {
  // Whoever reads it has it.
  if (source.locked) return undefined;
  const reader = source.getReader();
  // Not waited for: it may never settle.
  const cancel = (reason: unknown) => void reader.cancel(reason).catch(() => {});
  const { finish, progress } = tie(end, lock, cancel);
  const over = reader.closed.then(
    () => finish(true),
    (error) => finish(false).then(() => Promise.reject(error)),
  );
  over.catch(() => {});

  return new ReadableStream(
    {
      async pull(controller) {
        const item = await reader.read().catch(() => undefined);
        if (item && !item.done) {
          progress();
          return controller.enqueue(item.value);
        }
        // What failed, be it the source or the lock, fails the body.
        await over;
        controller.close();
      },
      async cancel(reason) {
        cancel(reason);
        await finish(false);
      },
    },
    { highWaterMark: 0 },
  );
}
