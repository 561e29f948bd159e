import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { DevServer } from "serverless-lock/dev";
import { afterEach, describe, expect, test } from "vitest";
import { show } from "../../functions/demo/show.ts";

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** The demo, against functions that answer every charge like this. */
async function showFor(status: number, body: string): Promise<string> {
  server = createServer((_request, response) => response.writeHead(status).end(body));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const dev = { meter: () => ({ requests: 0, commands: 0, byCommand: {} }) } as DevServer;
  let printed = "";
  const print = (text: string) => {
    printed += text;
  };
  await show(dev, `http://127.0.0.1:${port}`, print);
  return printed;
}

describe("the demo fails, with the reason,", () => {
  test("when more than one charge of an order gets in", async () => {
    await expect(showFor(200, "")).rejects.toThrow("10 got in instead of 1");
  });

  test("when charges of different orders are turned away", async () => {
    await expect(showFor(423, "")).rejects.toThrow("0 got in instead of 10");
  });

  test("when a charge is answered with an error", async () => {
    await expect(showFor(503, "Redis could not be asked")).rejects.toThrow(
      /order \d+ answered 503: Redis could not be asked/,
    );
  });
});
