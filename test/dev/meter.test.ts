import { Redis as IORedis } from "ioredis";
import { describe, expect, test } from "vitest";
import { startDevServer } from "../../src/dev/index.ts";
import { engines } from "./engines.ts";
import { useDevServer } from "./suite.ts";

describe.each(engines)("the meter, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    const suite = useDevServer(open);
    const { run } = suite;

    test("counts requests and commands, failed ones too", async () => {
      await run(["SET", "a", "1"]);
      await run(["get"]);
      await run(["GET", "a"]);
      await run(["nonsense"]);
      await run(["WATCH", "a"]);
      expect(suite.server.meter()).toEqual({
        requests: 5,
        commands: 5,
        byCommand: { set: 1, get: 2, nonsense: 1, watch: 1 },
      });
    });

    test("counts each command of a pipeline and of a transaction", async () => {
      await run([["SET", "a", "1"], ["GET"], ["INCR", "a"]], "/pipeline");
      await run(
        [
          ["INCR", "a"],
          ["INCR", "a"],
        ],
        "/multi-exec",
      );
      expect(suite.server.meter()).toEqual({
        requests: 2,
        commands: 5,
        byCommand: { set: 1, get: 1, incr: 3 },
      });
    });

    test("counts a request without a command as a request", async () => {
      await run([]);
      expect(suite.server.meter()).toEqual({ requests: 1, commands: 0, byCommand: {} });
    });

    test("counts what a script calls, by call and pcall, by any name, and in vain", async () => {
      const script = `
        local call = redis.call
        call("SET", KEYS[1], "v")
        for _ = 1, 3 do call("GET", KEYS[1]) end
        redis.pcall("LPUSH", KEYS[1], "x")
        return redis.call("TIME")`;
      await run(["EVAL", script, "1", "a"]);
      expect(suite.server.meter()).toEqual({
        requests: 1,
        commands: 7,
        byCommand: { eval: 1, set: 1, get: 3, lpush: 1, time: 1 },
      });
    });

    test("counts what a script called before it failed", async () => {
      await run([
        "EVAL",
        "redis.call('SET', KEYS[1], 'v') return redis.call('LPUSH', KEYS[1], 'x')",
        "1",
        "a",
      ]);
      expect(suite.server.meter().byCommand).toEqual({ eval: 1, set: 1, lpush: 1 });
    });

    test("counts scripts run by SHA, in pipelines and in transactions", async () => {
      const { result: sha } = (await run(["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"])) as {
        result: string;
      };
      await run(["EVALSHA", sha, "1", "n"]);
      await run(Array(3).fill(["EVALSHA", sha, "1", "n"]), "/pipeline");
      await run(
        [
          ["SET", "b", "1"],
          ["EVALSHA", sha, "1", "n"],
        ],
        "/multi-exec",
      );
      expect(suite.server.meter()).toEqual({
        requests: 4,
        commands: 12,
        byCommand: { script: 1, evalsha: 5, incr: 5, set: 1 },
      });
    });

    test("counts a function's commands like a script's", async () => {
      const library = `#!lua name=counting
        redis.register_function("twice", function(keys) redis.call("INCR", keys[1]) return redis.call("INCR", keys[1]) end)`;
      await run(["FUNCTION", "LOAD", "REPLACE", library]);
      expect(await run(["FCALL", "twice", "1", "n"])).toEqual({ result: 2 });
      expect(suite.server.meter().byCommand).toEqual({ function: 1, fcall: 1, incr: 2 });
    });

    test("counts DELEX and a conditional SET as one each", async () => {
      await run(["SET", "a", "1"]);
      await run(["SET", "a", "2", "IFEQ", "1"]);
      await run(["DELEX", "a", "IFEQ", "2"]);
      expect(suite.server.meter()).toEqual({ requests: 3, commands: 3, byCommand: { set: 2, delex: 1 } });
    });

    test("keeps apart what many requests at once do", async () => {
      const script = "redis.call('INCR', KEYS[1]) redis.call('GET', KEYS[1]) return 1";
      await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          run(i % 2 ? ["EVAL", script, "1", "n"] : ["DELEX", "n", "IFEQ", "x"]),
        ),
      );
      expect(suite.server.meter()).toEqual({
        requests: 100,
        commands: 200,
        byCommand: { eval: 50, delex: 50, incr: 50, get: 50 },
      });
    });

    test("leaves out what others do on the same Redis", async () => {
      const other = new IORedis(suite.server.redisUrl);
      const theirs = Array.from({ length: 20 }, () => other.eval("return redis.call('INCR', 'n')", 0));
      const ours = Array.from({ length: 20 }, () => run(["EVAL", "return redis.call('GET', 'n')", "0"]));
      await Promise.all([...theirs, ...ours]);
      other.disconnect();
      expect(suite.server.meter()).toEqual({ requests: 20, commands: 40, byCommand: { eval: 20, get: 20 } });
    });

    test("counts the first script's calls, too, while others keep the engine busy", async () => {
      const other = new IORedis(suite.server.redisUrl);
      let busy = true;
      const theirs = Array.from({ length: 20 }, async () => {
        while (busy) await Promise.all(Array.from({ length: 20 }, () => other.ping()));
      });
      // Each server opens its own MONITOR at its first script.
      for (let servers = 0; servers < 5; servers++) {
        const server = await startDevServer({ redis: suite.server.redisUrl });
        const headers = { authorization: `Bearer ${server.token}` };
        const body = JSON.stringify(["EVAL", "return redis.call('GET', 'n')", "0"]);
        await (await fetch(server.url, { method: "POST", headers, body })).text();
        expect(server.meter()).toEqual({ requests: 1, commands: 2, byCommand: { eval: 1, get: 1 } });
        await server.close();
      }
      busy = false;
      await Promise.all(theirs);
      other.disconnect();
    });

    test("is read and reset over HTTP with the token, and does not count that", async () => {
      const { url, token } = suite.server;
      await run(["PING"]);
      const headers = { authorization: `Bearer ${token}` };
      const meter = { requests: 1, commands: 1, byCommand: { ping: 1 } };
      expect(await (await fetch(`${url}/meter`, { headers })).json()).toEqual(meter);
      expect(await (await fetch(`${url}/meter?_token=${token}`)).json()).toEqual(meter);
      const empty = { requests: 0, commands: 0, byCommand: {} };
      expect(await (await fetch(`${url}/meter`, { method: "DELETE", headers })).json()).toEqual(empty);
      expect(suite.server.meter()).toEqual(empty);
    });

    test("hands out a copy", async () => {
      suite.server.meter().byCommand.get = 5;
      expect(suite.server.meter().byCommand).toEqual({});
    });
  });
});
