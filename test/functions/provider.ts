import { createServer } from "node:http";

/** Stands for what the recipes call: it keeps what is put, answers the rest, and knows how many it served at once. */
export interface Provider {
  url: string;
  /** What was put, by path. */
  kept: Map<string, string>;
  /** How many requests it serves, and the most it served at the same time. */
  busy(): number;
  busiest(): number;
  /** From now on requests get no answer, until what it returns is called. */
  hold(): () => void;
  close(): Promise<void>;
}

export async function startProvider(): Promise<Provider> {
  const kept = new Map<string, string>();
  let [now, most] = [0, 0];
  let open: Promise<void> | undefined;
  const server = createServer(async (request, response) => {
    most = Math.max(most, ++now);
    let body = "";
    for await (const chunk of request) body += chunk;
    const path = request.url ?? "";
    await open;
    if (request.method === "PUT") kept.set(path, body);
    now--;
    response.end(request.method === "GET" ? (kept.get(path) ?? "") : body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    kept,
    busy: () => now,
    busiest: () => most,
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      open = promise;
      return resolve;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
