import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { printable } from "../errors.ts";
import type { Locker } from "../index.ts";
import { lockPage } from "../page/index.ts";
import { type Add, type Common, WrongUse } from "./command.ts";
import { lockerOf } from "./locker.ts";
import { print, printJson } from "./output.ts";

export function addPage(add: Add): void {
  add("page", "Serve a page that shows the locks and steers them, on this machine alone; Ctrl-C ends it")
    .option("--port <port>", "the port to listen on, 0 for a free one", "8078")
    .action(async (options: Common & { port: string }) => {
      const port = Number(options.port);
      if (!/^\d{1,5}$/.test(options.port) || port > 65_535)
        throw new WrongUse(`--port: got "${printable(options.port)}", expected an integer from 0 to 65535`);
      const page = await servePage(lockerOf(options), port);
      if (options.json) printJson({ url: page.url });
      else print(`${page.url}\n`);
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, page.close);
    });
}

/**
 * The page on loopback. Its path is a secret, so that another user of the machine does not find it. A request for another
 * host is refused: a name on the web may lead to this machine.
 */
export async function servePage(
  locker: Locker,
  port: number,
): Promise<{ url: string; close(): Promise<void> }> {
  const prefix = `/${crypto.randomUUID()}`;
  const page = lockPage({ locker, prefix, authorize: () => true });
  const server = createServer((incoming, outgoing) => {
    answer(incoming, outgoing).catch(() => {
      // A method or a path that no request may have, or a client that left.
      if (!outgoing.headersSent) outgoing.writeHead(400);
      outgoing.end();
    });
  });

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { method = "GET", headers } = incoming;
    if (!hosts.includes(headers.host ?? "")) {
      outgoing.writeHead(421).end("Another host was asked for");
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of incoming) {
      size += chunk.length;
      if (size > 10_000) throw new Error("too long");
      chunks.push(chunk);
    }
    const body = method === "GET" || method === "HEAD" ? null : Buffer.concat(chunks);
    const init = { method, headers: headers as Record<string, string>, body };
    const response = await page(new Request(new URL(incoming.url ?? "/", `http://${headers.host}`), init));
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(method === "HEAD" ? undefined : Buffer.from(await response.arrayBuffer()));
  }
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  const hosts = [`127.0.0.1:${bound}`, `localhost:${bound}`];
  return {
    url: `http://127.0.0.1:${bound}${prefix}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
