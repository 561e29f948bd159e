import type { Memory } from "./memory.ts";

/** A `fetch` that answers what is sent to a URL as Upstash's REST API would, from a memory, and sends on all else. */
export function fetchOf(memory: Memory, url: string, real: typeof fetch): typeof fetch {
  const base = url.replace(/\/+$/, "");
  return async function fetchFromMemory(input, init) {
    const asked = input instanceof Request ? input.url : String(input);
    if (asked !== base && !asked.startsWith(`${base}/`)) return real(input, init);
    const request = new Request(input, init);
    request.signal.throwIfAborted();
    const path = asked.slice(base.length).split("/").filter(Boolean).map(decodeURIComponent);
    if (path[0] === "subscribe") return subscription(memory, path[1] ?? "", request.signal);
    try {
      const encoded = request.headers.get("upstash-encoding") === "base64";
      const [single, replies] = await answers(memory, path, await request.text());
      const results = replies.map((reply) => ({ result: encoded ? inBase64(reply) : reply }));
      return Response.json(single ? results[0] : results);
    } catch (error) {
      // As with a token that was taken back: nobody asks again.
      return Response.json({ error: (error as Error).message }, { status: 401 });
    }
  };
}

async function answers(memory: Memory, path: string[], body: string): Promise<[boolean, unknown[]]> {
  const sent: unknown = body ? JSON.parse(body) : path;
  const single = path[0] !== "pipeline" && path[0] !== "multi-exec";
  const commands = (single ? [sent] : sent) as [string, ...string[]][];
  return [single, await memory.send(commands, new AbortController().signal)];
}

/** What `@upstash/redis` asks for: every text but a plain OK in base64. */
function inBase64(reply: unknown): unknown {
  const encode = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(encode);
    return typeof value === "string" ? btoa(String.fromCharCode(...new TextEncoder().encode(value))) : value;
  };
  return reply === "OK" ? reply : encode(reply);
}

/** A stream of server-sent events with what is published on a channel. */
function subscription(memory: Memory, channel: string, signal: AbortSignal): Response {
  const left = new AbortController();
  signal.addEventListener("abort", () => left.abort());
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const say = (data: string) => controller.enqueue(new TextEncoder().encode(`data: ${data}\n\n`));
      const hear = (message: string) =>
        say(message ? `message,${channel},${message}` : `subscribe,${channel},1`);
      memory.listen(channel, hear, left.signal).then(() => {
        // The reader may have cancelled it.
        try {
          controller.close();
        } catch {}
      });
    },
    cancel: () => left.abort(),
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}
