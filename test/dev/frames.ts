/** Reads a stream's frames one by one. */
export function frames(response: Response) {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let text = "";
  return {
    /** The next frame, or undefined when the stream has ended. */
    async next(): Promise<string | undefined> {
      while (!text.includes("\n\n")) {
        const { value, done } = await reader.read();
        if (done) return undefined;
        text += decoder.decode(value, { stream: true });
      }
      const [frame] = text.split("\n\n", 1);
      text = text.slice((frame ?? "").length + 2);
      return frame;
    },
    stop: () => reader.cancel(),
  };
}
