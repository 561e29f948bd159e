// The least that serves Upstash's `POST /`: node:http in front of ioredis, and nothing else. What the dev server is
// measured beside. Arguments: the URL of a Redis, and a token. It prints its own URL.
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";

const [redisUrl = "", token = ""] = process.argv.slice(2);
const redis = new Redis(redisUrl);

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function answer(request: IncomingMessage): Promise<[status: number, body: object]> {
  if (request.headers.authorization !== `Bearer ${token}`) return [401, { error: "WRONGPASS" }];
  try {
    const [name, ...args] = JSON.parse(await read(request)) as [string, ...string[]];
    return [200, { result: await redis.call(name, ...args) }];
  } catch (error) {
    return [400, { error: (error as Error).message }];
  }
}

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request);
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
});
server.listen(0, "127.0.0.1", () => {
  console.log(`URL=http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
