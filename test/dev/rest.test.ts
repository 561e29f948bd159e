import { createHash } from "node:crypto";
import { request as nodeRequest } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { engines } from "./engines.ts";

describe.each(engines)("the REST API, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    let backend: Awaited<ReturnType<typeof open>>;
    let server: DevServer;

    beforeAll(async () => {
      backend = await open();
      server = await startDevServer({ redis: backend.redis });
    });
    afterAll(async () => {
      await server?.close();
      await backend?.close();
    });
    beforeEach(async () => {
      await post("/", ["FLUSHALL"]);
      server.resetMeter();
    });

    interface Answer {
      status: number;
      body: unknown;
      headers: Headers;
    }
    async function send(path: string, init: RequestInit = {}): Promise<Answer> {
      const headers = { authorization: `Bearer ${server.token}`, ...init.headers };
      const response = await fetch(server.url + path, { ...init, headers });
      const text = await response.text();
      return {
        status: response.status,
        body: text === "" ? "" : JSON.parse(text),
        headers: response.headers,
      };
    }
    const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
      send(path, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) });
    const base64 = { "upstash-encoding": "base64" };

    describe("authorization", () => {
      const unauthorized = { error: "WRONGPASS invalid or missing auth token" };

      test.each([
        ["no token", {}],
        ["a wrong token", { authorization: "Bearer wrong" }],
        ["an empty token", { authorization: "Bearer " }],
        ["another scheme", { authorization: "Basic dTpw" }],
      ])("refuses a request with %s and does not count it", async (_what, headers) => {
        for (const path of [
          "/",
          "/pipeline",
          "/multi-exec",
          "/get/a",
          "/subscribe/a",
          "/meter",
          "/nothing",
        ]) {
          const response = await fetch(server.url + path, { headers: headers as Record<string, string> });
          expect([path, response.status, await response.json()]).toEqual([path, 401, unauthorized]);
        }
        expect(server.meter().requests).toBe(0);
      });

      test("takes the token from the query, where it is no argument", async () => {
        const response = await fetch(`${server.url}/set/a/b?_token=${server.token}&EX=100`);
        expect(await response.json()).toEqual({ result: "OK" });
        expect((await post("/", ["TTL", "a"])).body).toEqual({ result: 100 });
        expect((await fetch(`${server.url}/get/a?_token=wrong`)).status).toBe(401);
      });

      test("lets a wrong header win over a right query", async () => {
        const headers = { authorization: "Bearer wrong" };
        expect((await fetch(`${server.url}/get/a?_token=${server.token}`, { headers })).status).toBe(401);
      });
    });

    describe("one command", () => {
      test("answers null, integers, strings and arrays", async () => {
        expect((await post("/", ["GET", "a"])).body).toEqual({ result: null });
        expect((await post("/", ["SET", "a", "b"])).body).toEqual({ result: "OK" });
        expect((await post("/", ["GET", "a"])).body).toEqual({ result: "b" });
        expect((await post("/", ["EXISTS", "a"])).body).toEqual({ result: 1 });
        expect((await post("/", ["MGET", "a", "none"])).body).toEqual({ result: ["b", null] });
      });

      test.each(["9007199254740993", "9223372036854775807", "-9223372036854775808"])(
        "answers the integer %s with all its digits, however it comes",
        async (number) => {
          const raw = async (path: string, body: unknown, headers = {}) => {
            const text = typeof body === "string" ? body : JSON.stringify(body);
            const authorization = `Bearer ${server.token}`;
            const init = { method: "POST", headers: { authorization, ...headers }, body: text };
            return (await fetch(server.url + path, init)).text();
          };
          // As a number in the request, too.
          expect(await raw("/", `["INCRBY","n",${number}]`)).toBe(`{"result":${number}}`);
          expect(await raw("/get/n", "")).toBe(`{"result":"${number}"}`);
          const asked = ["INCRBY", "n", "0"];
          expect(await raw("/", asked, base64)).toBe(`{"result":${number}}`);
          expect(await raw("/pipeline", [asked, asked])).toBe(`[{"result":${number}},{"result":${number}}]`);
          expect(await raw("/multi-exec", [asked])).toBe(`[{"result":${number}}]`);
          expect(await raw("/incrby/n/0", "")).toBe(`{"result":${number}}`);
          const bitfield = ["BITFIELD", "b", "SET", "i64", "0", number, "GET", "i64", "0"];
          expect(await raw("/", bitfield)).toBe(`{"result":[0,${number}]}`);
        },
      );

      test("takes numbers and booleans as their text", async () => {
        await post("/", ["MSET", "n", 1.5, "b", true]);
        expect((await post("/", ["MGET", "n", "b"])).body).toEqual({ result: ["1.5", "true"] });
      });

      test("takes the empty string as an argument", async () => {
        await post("/", ["SET", "", ""]);
        expect((await post("/", ["GET", ""])).body).toEqual({ result: "" });
      });

      test("answers a failed command with status 400 and Redis's error", async () => {
        const { status, body } = await post("/", ["GET"]);
        expect([status, body]).toEqual([400, { error: "ERR wrong number of arguments for 'get' command" }]);
      });

      test.each([
        ["", "ERR failed to parse command"],
        ["not JSON", "ERR failed to parse command"],
        ["{}", "ERR failed to parse command"],
        ['"PING"', "ERR failed to parse command"],
        ['["GET", null]', "ERR failed to parse command"],
        ['["GET", ["a"]]', "ERR failed to parse command"],
        ["[]", "ERR empty command"],
      ])("refuses the body %j", async (text, error) => {
        const { status, body } = await post("/", text);
        expect([status, body]).toEqual([400, { error }]);
      });

      test("answers an unknown command in Upstash's words", async () => {
        const { status, body } = await post("/", ["nonsense", "a"]);
        expect(status).toBe(400);
        expect(body).toEqual({
          error:
            "ERR Command is not available: 'NONSENSE'. See https://upstash.com/docs/redis/overall/rediscompatibility for details",
        });
      });

      test.each([
        ["BLPOP", "a", "0"],
        ["WATCH", "a"],
        ["CLIENT", "KILL", "TYPE", "normal"],
        ["hello", "3"],
        ["SUBSCRIBE", "a"],
        ["MULTI"],
        ["EXEC"],
        ["MONITOR"],
        ["SELECT", "1"],
        ["XREAD", "BLOCK", "0", "STREAMS", "s", "$"],
      ])("refuses %s, which needs a connection", async (...command) => {
        const { status, body } = await post("/", command);
        expect([status, body]).toEqual([
          400,
          {
            error: `ERR Command "${command[0]?.toUpperCase()}" is not allowed in REST or it has a special context path`,
          },
        ]);
      });

      test.each([["SHUTDOWN"], ["DEBUG", "SLEEP", "1"], ["CLUSTER", "INFO"]])(
        "refuses %s, which Upstash does not have",
        async (...command) => {
          expect((await post("/", command)).body).toEqual({
            error: expect.stringContaining(`ERR Command is not available: '${command[0]}'`),
          });
        },
      );
    });

    describe("a pipeline", () => {
      test("answers each item on its own", async () => {
        const { status, body } = await post("/pipeline", [
          ["SET", "a", "1"],
          ["LPUSH", "a", "x"],
          ["GET"],
          ["WATCH", "a"],
          ["INCR", "a"],
        ]);
        expect(status).toBe(200);
        expect(body).toEqual([
          { result: "OK" },
          { error: "WRONGTYPE Operation against a key holding the wrong kind of value" },
          { error: "ERR wrong number of arguments for 'get' command" },
          { error: expect.stringContaining('"WATCH"') },
          { result: 2 },
        ]);
      });

      test.each([
        ["/pipeline", "[]", "ERR empty pipeline request"],
        ["/pipeline", "{}", "ERR failed to parse pipeline request"],
        ["/pipeline", '["GET", "a"]', "ERR failed to parse pipeline command"],
        ["/multi-exec", "[]", "ERR empty transaction request"],
        ["/multi-exec", "nonsense", "ERR failed to parse transaction request"],
        ["/multi-exec", "[[]]", "ERR failed to parse transaction command"],
      ])("%s refuses %s", async (path, text, error) => {
        const { status, body } = await post(path, text);
        expect([status, body]).toEqual([400, { error }]);
      });
    });

    describe("a transaction", () => {
      test("answers an array, with the errors of commands that failed when run", async () => {
        const { status, body } = await post("/multi-exec", [
          ["SET", "a", "1"],
          ["LPUSH", "a", "x"],
          ["INCR", "a"],
        ]);
        expect(status).toBe(200);
        expect(body).toEqual([
          { result: "OK" },
          { error: "WRONGTYPE Operation against a key holding the wrong kind of value" },
          { result: 2 },
        ]);
      });

      test.each([
        ["a malformed one", ["GET"], "ERR wrong number of arguments for 'get' command"],
        ["an unknown one", ["nonsense"], "ERR Command is not available: 'NONSENSE'"],
        ["one that is not for REST", ["WATCH", "a"], 'ERR Command "WATCH" is not allowed in REST'],
      ])("is discarded as a whole when a command is %s", async (_what, command, why) => {
        const { status, body } = await post("/multi-exec", [["SET", "a", "1"], command]);
        expect(status).toBe(400);
        expect(body).toEqual({
          error: expect.stringContaining(`EXECABORT Transaction discarded because of: ${why}`),
        });
        expect((await post("/", ["EXISTS", "a"])).body).toEqual({ result: 0 });
      });

      test("is not mixed with the commands of others", async () => {
        const transactions = Array.from({ length: 50 }, () =>
          post("/multi-exec", [
            ["INCR", "n"],
            ["INCR", "n"],
          ]),
        );
        const others = Array.from({ length: 50 }, () => post("/", ["INCR", "n"]));
        for (const { body } of await Promise.all(transactions)) {
          const [first, second] = body as { result: number }[];
          expect(second?.result).toBe((first?.result ?? 0) + 1);
        }
        await Promise.all(others);
        expect((await post("/", ["GET", "n"])).body).toEqual({ result: "150" });
      });
    });

    describe("a command in the path", () => {
      test("takes arguments from path, body and query, in this order", async () => {
        expect((await send("/set/foo?EX=100", { method: "POST", body: "bar" })).body).toEqual({
          result: "OK",
        });
        expect((await send("/get/foo")).body).toEqual({ result: "bar" });
        expect((await send("/ttl/foo")).body).toEqual({ result: 100 });
        expect((await send("/set/foo?NX&EX=5", { method: "PUT", body: "other" })).body).toEqual({
          result: null,
        });
      });

      test("decodes each argument", async () => {
        await send("/set/a%2Fb/%C3%A9%20%25+");
        expect((await post("/", ["GET", "a/b"])).body).toEqual({ result: "é %+" });
      });

      test("takes a binary body as it is", async () => {
        const bytes = Buffer.from([0, 255, 10, 13, 128]);
        await send("/set/bytes", { method: "POST", body: bytes });
        const { body } = await send("/get/bytes", { headers: base64 });
        expect(body).toEqual({ result: bytes.toString("base64") });
      });

      test("refuses what is no percent-encoding", async () => {
        const { status, body } = await send("/get/%ff");
        expect(status).toBe(400);
        expect(body).toEqual({ error: expect.stringContaining("percent-encoded") });
      });

      test("refuses a path that no URL may have", async () => {
        const answer = new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
          const { hostname, port } = new URL(server.url);
          nodeRequest({ hostname, port, path: `/get/a\\b?_token=${server.token}` }, (response) => {
            let text = "";
            response.on("data", (chunk) => {
              text += chunk;
            });
            response.on("end", () => resolve({ status: response.statusCode, body: text }));
          })
            .on("error", reject)
            .end();
        });
        expect(await answer).toEqual({ status: 400, body: '{"error":"ERR failed to parse command"}' });
      });

      test("answers HEAD with the status alone", async () => {
        const { status, body } = await send("/get/foo", { method: "HEAD" });
        expect([status, body]).toEqual([200, ""]);
        expect((await send("/get", { method: "HEAD" })).status).toBe(400);
      });
    });

    test.each(["DELETE", "PATCH", "OPTIONS"])("answers %s with 405", async (method) => {
      const { status, body, headers } = await send("/get/a", { method });
      expect([status, headers.get("allow")]).toEqual([405, "GET, HEAD, POST, PUT"]);
      expect(body).toEqual({ error: expect.stringMatching(/^ERR /) });
    });

    describe("base64", () => {
      test("encodes every string, nested ones too, but not a top-level OK and not errors", async () => {
        expect((await post("/", ["SET", "a", "b"], base64)).body).toEqual({ result: "OK" });
        expect((await post("/", ["GET", "a"], base64)).body).toEqual({ result: btoa("b") });
        expect((await post("/", ["PING"], base64)).body).toEqual({ result: btoa("PONG") });
        expect((await post("/", ["GET"], base64)).body).toEqual({
          error: expect.stringMatching(/^ERR wrong/),
        });
        const nested = ["EVAL", "return {'a', {'b', 1, false, {ok='OK'}}}", "0"];
        expect((await post("/", nested, base64)).body).toEqual({
          result: [btoa("a"), [btoa("b"), 1, null, btoa("OK")]],
        });
      });

      test("encodes the items of pipelines and transactions", async () => {
        const commands = [["SET", "a", "b"], ["GET", "a"], ["GET"]];
        expect((await post("/pipeline", commands, base64)).body).toEqual([
          { result: "OK" },
          { result: btoa("b") },
          { error: expect.any(String) },
        ]);
        expect((await post("/multi-exec", commands.slice(0, 2), base64)).body).toEqual([
          { result: "OK" },
          { result: btoa("b") },
        ]);
      });

      test("keeps bytes that are no UTF-8, which plain answers replace", async () => {
        await send("/set/bytes", { method: "POST", body: Buffer.from([0x66, 0xff]) });
        expect((await post("/", ["GET", "bytes"], base64)).body).toEqual({ result: "Zv8=" });
        expect((await post("/", ["GET", "bytes"])).body).toEqual({ result: "f\ufffd" });
      });
    });

    test("changes the sync token with each write and with no read", async () => {
      const tokenAfter = async (...command: string[]) =>
        (await post("/", command)).headers.get("upstash-sync-token");
      const first = await tokenAfter("SET", "a", "1");
      expect(first).toMatch(/.{8}/);
      expect(await tokenAfter("GET", "a")).toBe(first);
      const second = await tokenAfter("INCR", "a");
      expect(second).not.toBe(first);
      expect(await tokenAfter("EVAL", "return redis.call('INCR', KEYS[1])", "1", "a")).not.toBe(second);
    });

    describe("a body's size", () => {
      const limit = 10 * 1024 * 1024;

      test("may be 10 MB", async () => {
        const { body } = await send("/set/a", { method: "POST", body: Buffer.alloc(limit) });
        expect(body).toEqual({ result: "OK" });
        expect((await post("/", ["STRLEN", "a"])).body).toEqual({ result: limit });
      });

      test("may not be a byte more, announced or not", async () => {
        const error = `ERR max request size exceeded. Limit: ${limit} bytes, Actual: ${limit + 1} bytes`;
        const announced = await send("/set/a", { method: "POST", body: Buffer.alloc(limit + 1) });
        expect([announced.status, announced.body]).toEqual([400, { error }]);
        const chunked = new Promise<number | undefined>((resolve, reject) => {
          const request = nodeRequest(
            `${server.url}/set/a?_token=${server.token}`,
            { method: "POST" },
            (response) => {
              response.resume();
              resolve(response.statusCode);
            },
          );
          request.on("error", reject);
          request.write(Buffer.alloc(limit));
          request.end("x");
        });
        expect(await chunked).toBe(400);
        expect((await post("/", ["EXISTS", "a"])).body).toEqual({ result: 0 });
      });
    });

    describe("scripts", () => {
      test("keep every shape of reply", async () => {
        const evaluate = async (script: string) => (await post("/", ["EVAL", script, "0"])).body;
        expect(await evaluate("return nil")).toEqual({ result: null });
        expect(await evaluate("return false")).toEqual({ result: null });
        expect(await evaluate("return true")).toEqual({ result: 1 });
        expect(await evaluate("return 3.9")).toEqual({ result: 3 });
        expect(await evaluate("return redis.status_reply('FINE')")).toEqual({ result: "FINE" });
        expect(await evaluate("return redis.error_reply('MY words')")).toEqual({ error: "MY words" });
        expect(await evaluate("return {1, {'a', {}}, false, 'b', nil, 'c'}")).toEqual({
          result: [1, ["a", []], null, "b"],
        });
      });

      test("keep their errors, line numbers and SHA", async () => {
        const script = "local a = 1\n\nreturn a .. nosuch";
        const sha = createHash("sha1").update(script).digest("hex");
        const { status, body } = await post("/", ["EVAL", script, "0"]);
        expect([status, body]).toEqual([
          400,
          {
            error: `ERR user_script:3: Script attempted to access nonexistent global variable 'nosuch' script: ${sha}, on @user_script:3.`,
          },
        ]);
      });

      test("are found by SHA once loaded or run, and not before", async () => {
        const script = "return {KEYS[1], ARGV[1]}";
        const sha = createHash("sha1").update(script).digest("hex");
        await post("/", ["SCRIPT", "FLUSH"]);
        const { status, body } = await post("/", ["EVALSHA", sha, "1", "k", "v"]);
        expect([status, body]).toEqual([400, { error: expect.stringMatching(/^NOSCRIPT /) }]);
        expect((await post("/", ["SCRIPT", "LOAD", script])).body).toEqual({ result: sha });
        expect((await post("/", ["EVALSHA", sha, "1", "k", "v"])).body).toEqual({ result: ["k", "v"] });
        expect((await post("/", ["SCRIPT", "EXISTS", sha, "0".repeat(40)])).body).toEqual({ result: [1, 0] });
      });
    });
  });
});
