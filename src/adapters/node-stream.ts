import type { Readable } from "node:stream";
import { type Reader, readUnder, type Streamed, webStream } from "./stream.ts";

/**
 * A response whose body is a stream, or which is one itself, with that stream replaced by one that ends the lock before
 * it closes: as a success when it was read to its end, as a failure when it failed or was left. The lock is renewed
 * only while the stream gets on: nobody tells whether it is going to be read at all. If the lock is lost, the source is
 * destroyed and the reader is told. Nothing is buffered. Undefined for any other response.
 */
export function heldToEnd(response: unknown, taken: Streamed): unknown {
  const stream = held(response, taken);
  if (stream) return stream;
  const body = held(bodyOf(response), taken);
  return body && withBody(response as object, body);
}

/** Ends the stream of a response that is not handed on. */
export function discard(response: unknown): void {
  for (const stream of [response, bodyOf(response)])
    readerOf(stream)
      ?.cancel()
      .catch(() => {});
}

function bodyOf(response: unknown): unknown {
  return (response as { body?: unknown } | null | undefined)?.body;
}

function held(stream: unknown, taken: Streamed): object | undefined {
  const reader = readerOf(stream);
  if (!reader) return undefined;
  return isNode(stream) ? nodeStream(stream, reader, taken) : webStream(reader, taken);
}

/**
 * Node's streams, loaded at their first use: that takes longer than all of this package. Undefined on a runtime without
 * them, where a stream of a polyfill is read as the async iterable that it is.
 */
function nodeStreams() {
  return globalThis.process?.getBuiltinModule?.("node:stream");
}

function isNode(stream: unknown): stream is Readable {
  return "_readableState" in Object(stream) && nodeStreams() !== undefined;
}

/** A reader of a stream of Node's, of a web stream or of an async iterable; of anything else, undefined. */
function readerOf(stream: unknown): Reader | undefined {
  if (Object(stream) !== stream) return undefined;
  if (isNode(stream)) return nodeReader(stream);
  const source = stream as ReadableStream;
  // Whoever reads it has it.
  if ("getReader" in source) return source.locked ? undefined : source.getReader();
  if (!(Symbol.asyncIterator in source)) return undefined;
  // TypeScript's library does not know it yet.
  const { from } = ReadableStream as unknown as { from(source: object): ReadableStream };
  return from(source).getReader();
}

function nodeReader(source: Readable): Reader {
  // Listens at once: a stream may have failed already, and be about to say so.
  const closed = new Promise<void>((resolve, reject) => {
    nodeStreams()?.finished(source, { writable: false }, (error) => (error ? reject(error) : resolve()));
  });
  let ended = false;
  let wake = () => {};
  const end = () => {
    ended = true;
    wake();
  };
  closed.then(end, end);
  return {
    closed,
    async read() {
      for (;;) {
        const value = source.read();
        if (value !== null) return { done: false, value };
        if (ended) return { done: true };
        // A race with `closed` would keep a little of each chunk until the stream ends.
        await new Promise<void>((resolve) => {
          wake = resolve;
          source.once("readable", resolve);
        });
      }
    },
    async cancel() {
      if (!source.readableEnded) source.destroy();
    },
  };
}

function nodeStream(source: Readable, reader: Reader, taken: Streamed): Readable {
  const { next, leave, over } = readUnder(reader, taken);
  const encoding = source.readableEncoding ?? undefined;
  const { Readable } = nodeStreams() as typeof import("node:stream");
  const stream: Readable = new Readable({
    objectMode: source.readableObjectMode,
    encoding,
    highWaterMark: 0,
    read() {
      next().then(
        ({ value }) => stream.push(value, encoding),
        (error) => stream.destroy(error),
      );
    },
    destroy(error, done) {
      const left = () => done(error);
      leave(error).then(left, left);
    },
  });
  // An error that nobody listens for ends the process: then whoever reads later is told.
  over.catch((error) => stream.listenerCount("error") > 0 && stream.destroy(error));
  return stream;
}

/** The response itself, whatever its class, with another body; a copy of one that is frozen. */
function withBody(response: object, body: object): object {
  if (response instanceof Response) return new Response(body as ReadableStream, response);
  const property = { value: body, enumerable: true, configurable: true, writable: true };
  if (Reflect.defineProperty(response, "body", property)) return response;
  const properties = { ...Object.getOwnPropertyDescriptors(response), body: property };
  return Object.create(Object.getPrototypeOf(response), properties);
}
