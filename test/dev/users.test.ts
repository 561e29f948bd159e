import { describe, expect, test } from "vitest";
import { engines } from "./engines.ts";
import { useDevServer } from "./suite.ts";

describe.each(engines)("the two tokens, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    const suite = useDevServer(open);
    const { run } = suite;
    const sendAs = async (token: string, command: unknown[], path = "/", method = "POST") => {
      const headers = { authorization: `Bearer ${token}` };
      const body = method === "POST" ? JSON.stringify(command) : null;
      const response = await fetch(suite.server.url + path, { method, headers, body });
      return { status: response.status, body: await response.json() };
    };
    const read = (command: unknown[], path?: string, method?: string) =>
      sendAs(suite.server.readOnlyToken, command, path, method);
    const noPermission = (name: string) =>
      `NOPERM this user has no permissions to run the '${name}' command or its subcommand`;

    test("the read-only one may read", async () => {
      await run(["MSET", "k", "v", "l", "x"]);
      await run(["HSET", "h", "f", "v"]);
      for (const [command, result] of [
        [["GET", "k"], "v"],
        [
          ["mget", "k", "none"],
          ["v", null],
        ],
        [["EXISTS", "k"], 1],
        [
          ["HGETALL", "h"],
          ["f", "v"],
        ],
        [["PTTL", "k"], -1],
        [["TYPE", "k"], "string"],
        [["MEMORY", "USAGE", "k"], expect.any(Number)],
        [["DIGEST", "k"], expect.stringMatching(/^[0-9a-f]{16}$/)],
        [["PING"], "PONG"],
        [["ECHO", "x"], "x"],
      ] as const) {
        expect([command, await read([...command])]).toEqual([command, { status: 200, body: { result } }]);
      }
      expect(await read([], "/get/k", "GET")).toEqual({ status: 200, body: { result: "v" } });
    });

    test.each([
      ["SET", "k", "other"],
      ["DELEX", "k"],
      ["SET", "k", "other", "IFEQ", "v"],
      ["DEL", "k"],
      ["GETDEL", "k"],
      ["GETEX", "k", "EX", "1"],
      ["SORT", "l", "STORE", "k"],
      ["FLUSHALL"],
      ["PUBLISH", "c", "x"],
      ["EVAL", "return redis.call('SET', KEYS[1], 'other')", "1", "k"],
      ["EVAL", "return redis.call('GET', KEYS[1])", "1", "k"],
      ["EVAL", "#!lua flags=no-writes\nreturn 1", "0"],
      ["EVAL_RO", "return redis.call('GET', KEYS[1])", "1", "k"],
      ["EVAL_RO", "return redis.call('PUBLISH', 'c', 'x')", "0"],
      ["EVALSHA", "0".repeat(40), "0"],
      ["FCALL", "f", "0"],
      ["EVALSHA_RO", "0".repeat(40), "0"],
      ["FCALL_RO", "f", "0"],
      ["SCRIPT", "LOAD", "return 1"],
      ["SCRIPT", "KILL"],
      ["FUNCTION", "LIST"],
      ["FUNCTION", "FLUSH"],
      ["CONFIG", "SET", "notify-keyspace-events", "KEA"],
      ["CONFIG", "GET", "*"],
      ["ACL", "RESTTOKEN", "default", "x"],
      ["ACL", "RESTTOKEN", "default_ro"],
      ["INFO"],
      ["COMMAND"],
      ["KEYS", "*"],
      ["SCAN", "0"],
      ["XGROUP", "CREATE", "k", "g", "0", "MKSTREAM"],
      ["RESTORE", "z", "0", "x"],
      ["COPY", "k", "z"],
      ["WAIT", "0", "0"],
      ["BITFIELD", "k", "SET", "u8", "0", "1"],
      ["GEORADIUS", "k", "0", "0", "1", "m", "STORE", "z"],
      ["XREADGROUP", "GROUP", "g", "c", "NOACK", "STREAMS", "k", ">"],
      ["XADD", "z", "*", "a", "b"],
      ["HGETEX", "z", "PERSIST", "FIELDS", "1", "f"],
      ["nonsense"],
    ])("the read-only one may not %s", async (...command) => {
      await run(["SET", "k", "v"]);
      const error = noPermission(command[0]?.toLowerCase() ?? "");
      expect(await read(command)).toEqual({ status: 400, body: { error } });
      expect(await read([["GET", "k"], command], "/pipeline")).toEqual({
        status: 200,
        body: [{ result: "v" }, { error }],
      });
      expect(await read([["GET", "k"], command], "/multi-exec")).toEqual({
        status: 400,
        body: { error: `EXECABORT Transaction discarded because of: ${error}` },
      });
      expect(await run(["GET", "k"])).toEqual({ result: "v" });
      expect(await run(["EXISTS", "z"])).toEqual({ result: 0 });
    });

    test("the read-only one may not write by a path, a body or a query, whatever form the answer has", async () => {
      await run(["SET", "k", "v"]);
      const { url, readOnlyToken } = suite.server;
      const send = (path: string, method: string, body?: string) =>
        fetch(`${url}${path}`, {
          method,
          headers: { authorization: `bearer ${readOnlyToken}`, "upstash-response-format": "resp2" },
          ...(body !== undefined && { body }),
        });
      for (const [path, method, body] of [
        ["/set/k/other", "GET"],
        ["/set/k/other", "HEAD"],
        ["/SeT/k", "PUT", "other"],
        ["/set/k/other?EX=100", "POST"],
        ["/del/k", "GET"],
        ["/publish/c/x", "POST"],
        ["/", "PUT", '["set","k","other"]'],
      ] as const) {
        const response = await send(path, method, body);
        expect([path, response.status]).toEqual([path, 400]);
        if (method !== "HEAD") expect(await response.text()).toMatch(/^-NOPERM [^\r\n]*\r\n$/);
      }
      const pipeline = await send("/pipeline", "POST", '[["GET","k"],["SET","k","other"]]');
      expect(await pipeline.text()).toMatch(/^\$1\r\nv\r\n-NOPERM [^\r\n]*\r\n$/);
      expect(await run(["GET", "k"])).toEqual({ result: "v" });
    });

    test("the read-only one is told what needs a connection as everybody is", async () => {
      for (const name of ["SUBSCRIBE", "BLPOP", "MONITOR"]) {
        expect(await read([name, "k"])).toEqual({
          status: 400,
          body: { error: expect.stringContaining(`Command "${name}" is not allowed in REST`) },
        });
      }
    });

    test("the read-only one may listen, and not look at what others send or change the server", async () => {
      const { url, readOnlyToken } = suite.server;
      for (const path of ["/subscribe/a", "/psubscribe/a*"]) {
        const stream = await fetch(`${url}${path}?_token=${readOnlyToken}`, { method: "POST" });
        expect(stream.status).toBe(200);
        await stream.body?.cancel();
      }
      for (const method of ["GET", "POST"]) {
        expect(await read([], "/monitor", method)).toEqual({
          status: 400,
          body: { error: noPermission("monitor") },
        });
      }
      expect((await read([], "/meter", "GET")).status).toBe(200);
      expect((await read([], "/meter", "DELETE")).status).toBe(403);
      expect((await read([], "/faults")).status).toBe(403);
    });

    test("ACL RESTTOKEN tells a user's token to whoever has its password, and no other ACL is taken", async () => {
      const { token, readOnlyToken } = suite.server;
      expect(await run(["ACL", "RESTTOKEN", "default", token])).toEqual({ result: token });
      expect(await run(["acl", "resttoken", "default_ro", readOnlyToken])).toEqual({ result: readOnlyToken });
      expect(await run(["ACL", "RESTTOKEN", "default_ro", token])).toEqual({
        error: 'ERR Wrong password or user "default_ro" does not exist',
      });
      expect(await run(["ACL", "RESTTOKEN", "nobody", token])).toEqual({
        error: 'ERR Wrong password or user "nobody" does not exist',
      });
      expect(await run(["ACL", "RESTTOKEN", "default"])).toEqual({
        error: "ERR wrong number of arguments for 'acl|resttoken' command",
      });
      expect(await run(["ACL", "RESTTOKEN", "default", token, "x"])).toEqual({
        error: "ERR wrong number of arguments for 'acl|resttoken' command",
      });
      expect(await run(["ACL", "RESTTOKEN"])).toEqual({
        error: "ERR wrong number of arguments for 'acl|resttoken' command",
      });
      for (const wrong of ["", "x", `${token}x`, token.slice(0, -1)]) {
        expect(await run(["ACL", "RESTTOKEN", "default", wrong])).toEqual({
          error: 'ERR Wrong password or user "default" does not exist',
        });
      }
      expect(await run([["ACL", "RESTTOKEN", "default", token], ["PING"]], "/multi-exec")).toEqual([
        { result: token },
        { result: "PONG" },
      ]);
      expect(await run(["ACL", "WHOAMI"])).toEqual({ error: expect.stringContaining("is not available") });
    });
  });
});
