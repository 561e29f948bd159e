import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "@upstash/redis";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createLocker, type LockerOptions, LockUnavailableError } from "../../src/index.ts";
import { restClient } from "../../src/redis/rest.ts";
import { upstashClient } from "../../src/redis/upstash.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  vi.unstubAllEnvs();
});

interface Seen {
  method: string | undefined;
  path: string | undefined;
  authorization: string | undefined;
  body: string;
}

/** A server that answers all requests alike, and what it was sent. */
async function answering(status: number, headers: Record<string, string>, body: string) {
  const seen: Seen[] = [];
  const server = createServer(async (request: IncomingMessage, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const { method, url: path, headers: sent } = request;
    seen.push({ method, path, authorization: sent.authorization, body: text });
    response.writeHead(status, headers).end(body);
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { seen, port, url: `http://127.0.0.1:${port}` };
}

const json = { "content-type": "application/json" };

describe("a redirect", () => {
  test.each([301, 302, 303, 307, 308])(
    "of status %i is not followed: no token goes there, and no answer from there is believed",
    async (status) => {
      const stranger = await answering(200, json, '{"result":null}');
      const front = await answering(status, { location: `http://localhost:${stranger.port}/` }, "");
      const locker = createLocker({ url: front.url, token: "rest-secret", requestTimeout: 300 });
      const error = await locker.acquire("k", { wait: "100ms" }).catch((error) => error);
      expect(error).toBeInstanceOf(LockUnavailableError);
      expect(error.cause.message).toMatch(/redirect/);
      expect(stranger.seen).toEqual([]);
    },
  );
});

describe("url and token", () => {
  const variables = [
    "UPSTASH_REDIS_REST_URL",
    "UPSTASH_REDIS_REST_TOKEN",
    "KV_REST_API_URL",
    "KV_REST_API_TOKEN",
  ];
  const environment = (values: Record<string, string>) => {
    for (const name of variables) vi.stubEnv(name, values[name]);
  };

  test("of the environment are taken as a pair: a token never goes to another's URL", async () => {
    const { url, seen } = await answering(200, json, '{"result":null}');
    environment({ UPSTASH_REDIS_REST_URL: url, KV_REST_API_URL: "https://x.y", KV_REST_API_TOKEN: "of-kv" });
    await expect(createLocker().acquire("k")).rejects.toThrow(/^token: got undefined/);
    environment({ KV_REST_API_URL: url, KV_REST_API_TOKEN: "of-kv", UPSTASH_REDIS_REST_TOKEN: "other" });
    await createLocker().acquire("k");
    expect(seen[0]?.authorization).toBe("Bearer of-kv");
  });

  test("a url given without a token gets none from the environment", () => {
    environment({ UPSTASH_REDIS_REST_URL: "https://x.y", UPSTASH_REDIS_REST_TOKEN: "secret" });
    expect(() => createLocker({ url: "https://stranger.example" })).toThrow(/^token: got undefined/);
  });

  test("blanks and a line break around them are no part of them", async () => {
    const { url, seen } = await answering(200, json, '{"result":null}');
    environment({ UPSTASH_REDIS_REST_URL: ` ${url}/ \r\n`, UPSTASH_REDIS_REST_TOKEN: "secret\n" });
    expect((await createLocker().acquire("k")).held).toBe(true);
    expect(seen[0]?.authorization).toBe("Bearer secret");
  });

  test.each(["https://x.y/a b", "https://x. y", "https://x.y#z", "https://user:secret@x.y", "redis://x.y"])(
    "a url that cannot work is refused: %s",
    (url) => expect(() => createLocker({ url, token: "t" })).toThrow(/^url: /),
  );
});

/** Both clients, in front of the same server. */
const clients: [string, (url: string) => LockerOptions][] = [
  ["the built-in client", (url) => ({ url, token: "t" })],
  ["@upstash/redis", (url) => ({ redis: new Redis({ url, token: "t", enableTelemetry: false }) })],
];

describe.each(clients)("%s", (_name, connect) => {
  test.each([
    [401, '{"error":"Unauthorized"}'],
    [401, '{"message":"who are you?"}'],
    [403, "<html>"],
    [403, '{"error":"ERR no"}'],
    [403, '{"error":"READONLY this token may not write."}'],
    [401, '{"error":"BUSY try again later"}'],
    [401, '{"error":"ERR max requests limit exceeded"}'],
    [401, '{"error":{"code":"unauthorized"}}'],
    [403, '{"result":null}'],
    [403, "[]"],
    [401, ""],
  ])("asks once with a token that is refused with %i, whatever the words: %s", async (status, body) => {
    const { url, seen } = await answering(status, json, body);
    const locker = createLocker(connect(url));
    for (const acquisitions of [1, 2]) {
      const error = await locker.acquire("k").catch((error) => error);
      expect(error).toBeInstanceOf(LockUnavailableError);
      expect(seen.filter(({ body }) => body.includes('"NX"'))).toHaveLength(acquisitions);
    }
  });

  test("sends numbers as texts: a server may write 1000000 as 1e+06", async () => {
    const { url, seen } = await answering(200, json, '{"result":null}');
    // Whatever becomes of it.
    await createLocker(connect(url))
      .acquire("k", { ttl: "1000s" })
      .catch(() => {});
    const command: unknown[] = JSON.parse(seen[0]?.body ?? "");
    expect(command).toContain("1000000");
    expect(command.every((part) => typeof part === "string")).toBe(true);
  });
});

describe("a subscription", () => {
  /** A server whose lock is another's, and that answers a subscription in this way. */
  async function subscribed(answer: (response: ServerResponse, times: number) => void) {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      if (request.url?.startsWith("/subscribe/")) {
        asked.push(`${request.method} ${request.headers["content-type"] ?? "no type"}`);
        return answer(response, asked.length);
      }
      response.writeHead(200, json).end('{"result":"another library\'s"}');
    }).listen(0, "127.0.0.1");
    servers.push(server);
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const { listen } = restClient(`http://127.0.0.1:${port}`, "t");
    return { asked, listen };
  }
  const eventStream = { "content-type": "text/event-stream" };

  test("is asked for by POST, without a body, as Upstash's documentation shows", async () => {
    const { asked, listen } = await subscribed((response) =>
      response.writeHead(200, eventStream).end("data: subscribe,c,1\n\n"),
    );
    const heard: string[] = [];
    await listen("c", (message) => heard.push(message), AbortSignal.timeout(10_000));
    expect([asked, heard]).toEqual([["POST no type"], [""]]);
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ["400", (response) => response.writeHead(400, json).end('{"error":"ERR unknown command"}')],
    ["404", (response) => response.writeHead(404, json).end('{"error":"no such path"}')],
    ["405", (response) => response.writeHead(405).end()],
    ["501", (response) => response.writeHead(501).end("not here")],
    ["a text", (response) => response.writeHead(200, { "content-type": "text/plain" }).end("data: no\n\n")],
    ["JSON", (response) => response.writeHead(200, json).end('{"result":["subscribe","c",1]}')],
  ])("that a server answers with %s is not asked for again: it cannot stream", async (_what, answer) => {
    const { asked, listen } = await subscribed(answer);
    const heard: string[] = [];
    await listen("c", (message) => heard.push(message), AbortSignal.timeout(10_000));
    const leave = new AbortController();
    const again = listen("d", (message) => heard.push(message), leave.signal);
    leave.abort();
    await again;
    expect([asked.length, heard]).toEqual([1, []]);
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ["503", (response) => response.writeHead(503, { "content-type": "text/html" }).end("<html>")],
    ["429", (response) => response.writeHead(429).end()],
    ["a stream that breaks", (response) => response.writeHead(200, eventStream).end()],
  ])("that a server answers with %s is asked for again", async (_what, answer) => {
    const { asked, listen } = await subscribed((response, times) =>
      times === 1 ? answer(response) : response.writeHead(200, eventStream).end("data: subscribe,c,1\n\n"),
    );
    const heard: string[] = [];
    for (const _ of [1, 2]) await listen("c", (message) => heard.push(message), AbortSignal.timeout(10_000));
    expect([asked.length, heard]).toEqual([2, [""]]);
  });
});

describe("a stream that an @upstash/redis instance asks for", () => {
  // It prints whatever breaks a stream.
  beforeEach(() => void vi.spyOn(console, "error").mockImplementation(() => {}));
  afterEach(() => void vi.restoreAllMocks());

  const listener = async (status: number) => {
    const { seen, url } = await answering(status, { "content-type": "text/html" }, "<html>");
    return { seen, ...upstashClient(new Redis({ url, token: "t", retry: { retries: 0 } })) };
  };
  const never = () => new AbortController().signal;

  test.each([400, 404, 405, 501])("is asked for once where the server has none: %i", async (status) => {
    const { seen, listen } = await listener(status);
    await expect(listen("c", () => {}, never())).rejects.toThrow();
    // Once by the instance, which hides the status, and once to see that.
    const asked = seen.length;
    expect(asked).toBe(2);
    const leave = new AbortController();
    const again = listen("d", () => {}, leave.signal);
    leave.abort();
    await again;
    expect(seen.length).toBe(asked);
  });

  test.each([429, 503])("is asked for again after a refusal of the moment: %i", async (status) => {
    const { seen, listen } = await listener(status);
    for (const _ of [1, 2]) await expect(listen("c", () => {}, never())).rejects.toThrow();
    expect(seen.length).toBe(4);
  });
});

test("an @upstash/redis instance that fails without a word costs one PING, however much fails at once", async () => {
  const { seen, url } = await answering(503, { "content-type": "text/html" }, "<html>");
  const { send } = upstashClient(
    new Redis({ url, token: "t", retry: { retries: 0 }, enableAutoPipelining: false }),
  );
  const failures = await Promise.allSettled(
    Array.from({ length: 20 }, () => send([["GET", "k"]], new AbortController().signal)),
  );
  expect(failures.map(({ status }) => status)).toEqual(Array(20).fill("rejected"));
  expect(seen.filter(({ body }) => body === '["PING"]').length).toBe(1);
});

test.each([400, 401, 403])(
  "an error of status %i that quotes the REST token is told without it",
  async (status) => {
    const body = '{"error":"WRONGPASS invalid Bearer rest-secret"}';
    const { url } = await answering(status, json, body);
    const error = await createLocker({ url, token: "rest-secret" })
      .acquire("k")
      .catch((error) => error);
    expect(error).toMatchObject({ code: "LOCK_UNAVAILABLE" });
    expect(error.cause.message).toBe("WRONGPASS invalid Bearer [token]");
  },
);

test.each([
  [404, "no such route"],
  [404, "NOT FOUND"],
  [408, "REQUEST TIMEOUT"],
  [429, "ERR too many"],
])("a gateway's %i that Redis did not say is no answer, and asked again: %s", async (status, error) => {
  const { url, seen } = await answering(status, json, JSON.stringify({ error, result: null }));
  const locker = createLocker({ url, token: "t", requestTimeout: 500 });
  await expect(locker.acquire("k")).rejects.toMatchObject({ code: "LOCK_UNAVAILABLE" });
  expect(seen.filter(({ body }) => body.includes('"NX"')).length).toBeGreaterThan(1);
});

describe("a lock and the replicas in one request", () => {
  const ok = '{"result":null}';
  const wait = '{"result":1}';

  test("is a pipeline of two commands, and the lock is held if both answers say so", async () => {
    const { url, seen } = await answering(200, json, `[${ok},${wait}]`);
    const lock = await createLocker({ url, token: "rest-secret", replicas: 1, requestTimeout: 301 }).acquire(
      "k",
    );
    expect(lock.held).toBe(true);
    expect(seen).toMatchObject([{ method: "POST", path: "/pipeline", authorization: "Bearer rest-secret" }]);
    const take = ["SET", "lock:{k}", expect.any(String), "NX", "GET", "PX", "10000"];
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual([take, ["WAIT", "1", "151"]]);
  });

  const unavailable: [string, string, string | RegExp][] = [
    ["no array", '{"result":null}', "0 of 1 replicas confirmed the lock"],
    ["an answer too few", `[${ok}]`, "0 of 1 replicas confirmed the lock"],
    ["no number of replicas", `[${ok},{"result":"many"}]`, "0 of 1 replicas confirmed the lock"],
    ["too few replicas", `[${ok},{"result":0}]`, "0 of 1 replicas confirmed the lock"],
    ["nothing", "[]", /Redis could not be asked/],
    ["no reply to the lock", `[{},${wait}]`, /Redis could not be asked/],
    [
      "a refused WAIT",
      `[${ok},{"error":"NOPERM no permissions to run the 'wait' command"}]`,
      /could not be asked/,
    ],
    [
      "a refused lock",
      `[{"error":"NOPERM no permissions to run the 'set' command"},${wait}]`,
      /could not be asked/,
    ],
  ];
  test.each(unavailable)("is unavailable for %s: %s", async (_, body, message) => {
    const { url } = await answering(200, json, body);
    const locker = createLocker({ url, token: "rest-secret", replicas: 1, requestTimeout: 500 });
    const error = await locker.acquire("k").catch((error) => error);
    expect(error).toBeInstanceOf(LockUnavailableError);
    expect(error.message).toMatch(message);
  });

  test.each([
    "ERR unknown command 'WAIT', with args beginning with: '1' '50'",
    "ERR Command is not available: 'WAIT'. See the documentation",
  ])("a server without WAIT is not taken for one without what stands before it: %s", async (said) => {
    const { url, seen } = await answering(200, json, JSON.stringify([{ result: null }, { error: said }]));
    const locker = createLocker({ url, token: "rest-secret", requestTimeout: 100 });
    const error = await locker.acquire("k", { replicas: 1 }).catch((error) => error);
    expect(error.cause.message).toBe(said);
    await locker.acquire("other").catch(() => {});
    expect(seen.filter(({ body }) => body.includes('"lock:{other}"'))[0]?.body).toContain('"NX","GET"');
  });
});
