import { finished, Readable } from "node:stream";
import type { HeldLock } from "../lock.ts";
import type { End } from "./run.ts";
import { holdingWeb, tie } from "./web-stream.ts";

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
  if ("getReader" in stream) {
    const source = stream as object as ReadableStream;
    // Whoever reads it has it.
    return source.locked ? undefined : holdingWeb(source, end, lock);
  }
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
