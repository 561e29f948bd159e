import { connect } from "node:net";
import { Redis } from "@upstash/redis";
import { describe, expect, test } from "vitest";
import { startDevServer } from "../../src/dev/index.ts";
import { engines } from "./engines.ts";
import { useDevServer } from "./suite.ts";

describe("what Node's HTTP refuses by itself", () => {
  const suite = useDevServer(engines[0]?.open as (typeof engines)[number]["open"]);
  const { run } = suite;

  /** All that comes back until the server closes the connection, which the client may half-close before. */
  function talk(text: string, halfClose = false): Promise<string> {
    const { hostname, port } = new URL(suite.server.url);
    const socket = connect({ host: hostname, port: Number(port) });
    let all = "";
    socket.on("data", (chunk) => {
      all += chunk;
    });
    socket.write(text.replaceAll("AUTH", `Authorization: Bearer ${suite.server.token}`));
    if (halfClose) socket.end();
    return new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("close", () => resolve(all));
    });
  }
  /** The status and the body of each answer. */
  async function answers(text: string): Promise<unknown[]> {
    const all = (await talk(text)).split(/(?=HTTP\/1\.1 \d)/);
    return all.map((answer) => [answer.slice(9, 12), JSON.parse(answer.split("\r\n\r\n")[1] ?? "")]);
  }
  const post = (body: string, headers = "Host: x") =>
    `POST / HTTP/1.1\r\n${headers}\r\nAUTH\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

  test.each([
    ["no HTTP", "GARBAGE\r\n\r\n", "400", "ERR malformed HTTP"],
    [
      "a path of 20 kB",
      `GET /${"x".repeat(20_000)} HTTP/1.1\r\n\r\n`,
      "431",
      "ERR the request's headers are too large",
    ],
    ["CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", "405", "ERR method CONNECT is not allowed"],
    [
      "two lengths of a body",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "400",
      "ERR malformed HTTP",
    ],
  ])("is answered in the API's shape: %s", async (_what, text, status, error) => {
    expect(await answers(text)).toEqual([[status, { error }]]);
  });

  test("is an error of the command without a host, and none with an unknown expectation", async () => {
    expect(await answers(post('["PING"]', "Connection: close"))).toEqual([
      ["400", { error: "ERR failed to parse command" }],
    ]);
    expect(await answers(post('["PING"]', "Host: x\r\nExpect: wonders\r\nConnection: close"))).toEqual([
      ["200", { result: "PONG" }],
    ]);
  });

  test("is answered after the requests before it on the same connection", async () => {
    const incr = post('["INCR","n"]');
    const garbage = "GARBAGE\r\n\r\n";
    expect(await answers(incr + incr + garbage)).toEqual([
      ["200", { result: 1 }],
      ["200", { result: 2 }],
      ["400", { error: "ERR malformed HTTP" }],
    ]);
  });

  test("is an answer to a client that breaks off in the middle of a body", async () => {
    const all = await talk('POST / HTTP/1.1\r\nHost: x\r\nAUTH\r\nContent-Length: 12\r\n\r\n["INC', true);
    expect(all).toContain("400 Bad Request");
    expect(await run(["GET", "n"])).toEqual({ result: null });
  });

  test("does not mix a 100 Continue into the answer before", async () => {
    const ping = post('["PING"]');
    const expecting = post('["INCR","n"]', "Host: x\r\nExpect: 100-continue");
    const all = await talk(ping + expecting);
    expect(all.match(/HTTP\/1\.1 \d+|"result":[^}]+/g)).toEqual([
      "HTTP/1.1 200",
      '"result":"PONG"',
      "HTTP/1.1 200",
      '"result":1',
    ]);
    // A request that nothing else is before gets it.
    const alone = await talk(post('["PING"]', "Host: x\r\nExpect: 100-continue\r\nConnection: close"));
    expect(alone).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
  });
});

test("what the embedded engine itself trips over is that command's error, and nobody else's", async () => {
  const server = await startDevServer();
  const redis = new Redis({ url: server.url, token: server.token, enableAutoPipelining: false });
  const others = Array.from({ length: 10 }, () => redis.incr("n"));
  // It looks the section up in an object, where this is inherited.
  const failed = redis.exec<string>(["INFO", "constructor"]);
  others.push(...Array.from({ length: 10 }, () => redis.incr("n")));
  await expect(failed).rejects.toThrow("ERR internal error of the embedded engine");
  expect(await Promise.all(others)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  await server.close();
});
