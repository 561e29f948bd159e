import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { servePage } from "../../src/cli/page.ts";
import { memoryLocker } from "../../src/testing/index.ts";

let page: Awaited<ReturnType<typeof servePage>>;
beforeAll(async () => {
  page = await servePage(memoryLocker(), 0);
});
afterAll(() => page.close());

/** Sends text as it is, and gives what comes back before the connection is closed. */
async function send(text: string): Promise<string> {
  const { hostname, port } = new URL(page.url);
  const socket = connect(Number(port), hostname);
  let answer = "";
  socket.setEncoding("latin1").on("data", (chunk) => {
    answer += chunk;
  });
  const closed = once(socket, "close");
  socket.end(text);
  await closed;
  return answer;
}

const host = () => `Host: ${new URL(page.url).host}\r\nConnection: close\r\n`;

test.each([
  ["a path that is no URL", () => `GET http://[ HTTP/1.1\r\n${host()}\r\n`, "400"],
  [
    "a method that no request may have",
    () => `TRACE ${new URL(page.url).pathname} HTTP/1.1\r\n${host()}\r\n`,
    "400",
  ],
  ["a body that is cut", () => `POST / HTTP/1.1\r\n${host()}Content-Length: 100\r\n\r\n{`, ""],
  ["another host", () => "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421"],
  ["a path that names another host", () => `GET //evil.example/ HTTP/1.1\r\n${host()}\r\n`, "404"],
  [
    "a path that is guessed",
    () => `GET /00000000-0000-0000-0000-000000000000 HTTP/1.1\r\n${host()}\r\n`,
    "404",
  ],
  [
    "a body that is too long",
    () => `POST / HTTP/1.1\r\n${host()}Content-Length: 20000\r\n\r\n${"a".repeat(20_000)}`,
    "400",
  ],
])("is refused, and the page goes on: %s", async (_, request, status) => {
  expect(await send(request())).toMatch(status ? new RegExp(`^HTTP/1.1 ${status} `) : /^$|^HTTP\/1.1 400 /);
  expect((await fetch(page.url)).status).toBe(200);
});
