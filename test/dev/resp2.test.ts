import { describe, expect, test } from "vitest";
import { engines } from "./engines.ts";
import { useDevServer } from "./suite.ts";

describe.each(engines)("answers in RESP2, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    const suite = useDevServer(open);
    async function send(path: string, body: unknown, headers: Record<string, string> = {}) {
      const { url, token } = suite.server;
      const response = await fetch(url + path, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "upstash-response-format": "resp2", ...headers },
        body: JSON.stringify(body),
      });
      return {
        status: response.status,
        type: response.headers.get("content-type"),
        syncToken: response.headers.get("upstash-sync-token"),
        text: Buffer.from(await response.arrayBuffer()).toString("latin1"),
      };
    }
    const type = "application/octet-stream";

    test("have each kind of reply", async () => {
      await suite.run(["MSET", "k", "v", "empty", ""]);
      for (const [command, text] of [
        [["SET", "a", "b"], "+OK\r\n"],
        [["PING"], "+PONG\r\n"],
        [["GET", "k"], "$1\r\nv\r\n"],
        [["GET", "empty"], "$0\r\n\r\n"],
        [["GET", "none"], "$-1\r\n"],
        [["INCRBY", "n", "9007199254740993"], ":9007199254740993\r\n"],
        [["MGET", "k", "none"], "*2\r\n$1\r\nv\r\n$-1\r\n"],
        [["EVAL", "return {1, {'a', {}}}", "0"], "*2\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n"],
      ] as const) {
        expect(await send("/", command)).toMatchObject({ status: 200, type, text });
      }
    });

    test("have bytes as they are", async () => {
      const { url, token } = suite.server;
      const bytes = Buffer.from([0, 255, 13, 10]);
      await fetch(`${url}/set/bytes?_token=${token}`, { method: "POST", body: bytes });
      expect((await send("/get/bytes", undefined)).text).toBe("$4\r\n\u0000\u00ff\r\n\r\n");
    });

    test("tell an error with its status, on one line", async () => {
      expect(await send("/", ["GET"])).toMatchObject({
        status: 400,
        type,
        text: "-ERR wrong number of arguments for 'get' command\r\n",
      });
      const { text } = await send("/", ["EVAL", "return redis.error_reply('MY\\r\\n+words')", "0"]);
      expect(text.split("\r\n")).toHaveLength(2);
    });

    test("stand one after the other for a pipeline", async () => {
      const commands = [["SET", "a", "b"], ["GET", "a"], ["GET"], ["WATCH", "a"]];
      const { status, text } = await send("/pipeline", commands);
      expect(status).toBe(200);
      expect(text).toMatch(
        /^\+OK\r\n\$1\r\nb\r\n-ERR wrong number [^\r\n]*\r\n-ERR Command "WATCH"[^\r\n]*\r\n$/,
      );
    });

    test("are not for transactions, nor beside base64, nor in another format", async () => {
      expect(await send("/multi-exec", [["SET", "a", "b"]])).toMatchObject({ text: '[{"result":"OK"}]' });
      const base64 = await send("/", ["GET", "a"], { "upstash-encoding": "base64" });
      expect([base64.status, base64.text]).toEqual([400, expect.stringContaining('"error"')]);
      const other = await send("/", ["GET", "a"], { "upstash-response-format": "resp3" });
      expect([other.status, other.text]).toEqual([400, expect.stringContaining('"error"')]);
    });

    test("carry a sync token too", async () => {
      expect((await send("/", ["SET", "a", "b"])).syncToken).toMatch(/.{8}/);
    });
  });
});
