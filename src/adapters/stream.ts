/** What reads a body, whatever kind of stream it is. */
type Source = AsyncIterable<unknown> & { _readableState?: unknown };

/**
 * A response whose body is a stream, or which is one itself, with that stream replaced by one that calls
 * `end` before it closes: with true when it was read to its end, with false when it failed or was cancelled.
 * Undefined for any other response. Nothing is buffered.
 */
export function heldToEnd(
  response: unknown,
  end: (success: boolean) => Promise<void>,
): Promise<unknown> | undefined {
  if (isStream(response)) return holding(response, end);
  const body = (response as { body?: unknown } | null | undefined)?.body;
  return isStream(body)
    ? holding(body, end).then((held) => ({ ...(response as object), body: held }))
    : undefined;
}

function isStream(value: unknown): value is Source {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

async function holding(source: Source, end: (success: boolean) => Promise<void>): Promise<unknown> {
  const iterator = source[Symbol.asyncIterator]();
  // An object, not a generator: returning from a generator that was never started runs nothing of it.
  const held = {
    async next() {
      const item = await iterator.next().catch(async (error: unknown) => {
        await end(false);
        throw error;
      });
      if (item.done) await end(true);
      return item;
    },
    async return() {
      await iterator.return?.();
      await end(false);
      return { done: true as const, value: undefined };
    },
    [Symbol.asyncIterator]: () => held,
  };
  if (source._readableState) return (await import("node:stream")).Readable.from(held);
  return (ReadableStream as unknown as { from(source: object): unknown }).from(held);
}
