import { createHash } from "node:crypto";
import { createServer } from "node:net";
import { Redis as IORedis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createGuard } from "../../src/dev/script-guard.ts";
import { unsupportedNames } from "../../src/dev/unsupported-commands.ts";
import { engines } from "./engines.ts";
import { useDevServer } from "./suite.ts";

/** Ways in which a script may come by a command that its text does not name. Each calls what ARGV says. */
const scripts = {
  "redis.call": "return redis.call(unpack(ARGV))",
  "redis.pcall": "return redis.pcall(unpack(ARGV))",
  "another name": "local r = redis local c = r.call return c(unpack(ARGV))",
  "an index": 'return redis["ca" .. "ll"](unpack(ARGV))',
  "its iteration": "local c for k, v in pairs({redis}) do c = v.call end return c(unpack(ARGV))",
  "its metatable": "return (getmetatable(redis).__index or redis).call(unpack(ARGV))",
  _G: 'return _G["red" .. "is"].call(unpack(ARGV))',
  loadstring: 'return loadstring("return red" .. "is.call(unpack(ARGV))")()',
  load: 'local n = 0 return load(function() n = n + 1 return n == 1 and "return red" .. "is.call(unpack(ARGV))" or nil end)()',
  getfenv: 'return getfenv(0)["red" .. "is"].call(unpack(ARGV))',
  "Valkey's name": 'return server["call"](unpack(ARGV))',
  "a coroutine": "return coroutine.wrap(function() return redis.call(unpack(ARGV)) end)()",
  "a pcall":
    "local ok, e = pcall(function() return redis.call(unpack(ARGV)) end) return ok and 'ran' or error(e)",
  "a comment before it": "-- a comment\n--[[ and a\n-- second ]] return redis.call(unpack(ARGV))",
  "a string that goes on": 'local s = "\\\n-- " return redis.call(unpack(ARGV))',
  "a name that goes on": 'return redis.call("" .. ARGV[1], unpack(ARGV, 2))',
  "the locking flag": "#!lua flags=allow-key-locking\nreturn redis.call(unpack(ARGV))",
};
const library = `#!lua name=door
local mine = redis
redis.register_function("door_named", function(keys, args) return redis.call(unpack(args)) end)
redis.register_function("door_aliased", function(keys, args) return mine.call(unpack(args)) end)
redis.register_function("door_pcall", function(keys, args) return redis.pcall(unpack(args)) end)
redis.register_function("door_other", function(keys, args)
  mine.log(mine.LOG_DEBUG, "x")
  return { mine.sha1hex(""), mine.status_reply("FINE") }
end)`;
const functions = ["door_named", "door_aliased", "door_pcall"];

describe.each(engines)("what requests may not run, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    const suite = useDevServer(open);
    const { run } = suite;
    const refused = { error: expect.stringMatching(/^(ERR|WRONGTYPE)/) };

    test.each(Object.entries(scripts))("no script runs by %s", async (_how, script) => {
      await run(["SET", "k", "kept"]);
      for (const command of [["SWAPDB", "0", "1"], ["swapdb", "0", "1"], ["SELECT", "1"], ["RESET"]]) {
        const sent = ["EVAL", script, "0", ...command];
        expect([command, await run(sent)]).toEqual([command, refused]);
        expect(await run([sent], "/pipeline")).toEqual([refused]);
        expect(await run([sent], "/multi-exec")).toEqual([refused]);
        const path = [script, "0", ...command].map(encodeURIComponent).join("/");
        expect(await run([], `/eval/${path}?_token=${suite.server.token}`)).toEqual(refused);
        const { result: sha } = (await run(["SCRIPT", "LOAD", script])) as { result: string };
        expect(sha).toBe(createHash("sha1").update(script).digest("hex"));
        expect(await run(["EVALSHA", sha, "0", ...command])).toEqual(refused);
        expect(await run(["EVALSHA_RO", sha, "0", ...command])).toEqual(refused);
      }
      expect(await run(["GET", "k"])).toEqual({ result: "kept" });
    });

    test.each([...unsupportedNames])("no script runs %s", async (name) => {
      for (const args of [[], ["1"], ["GET", "*"], ["NO", "ONE"], ["1", "1", "1", "1"]]) {
        const sent = ["EVAL", scripts["redis.call"], "0", name, ...args];
        expect([args, await run(sent)]).toEqual([args, refused]);
      }
    });

    test("a library's functions run none of it either, and everything else", async () => {
      expect(await run(["FUNCTION", "LOAD", "REPLACE", library])).toEqual({ result: "door" });
      await run(["SET", "k", "kept"]);
      for (const name of functions) {
        expect(await run(["FCALL", name, "0", "SWAPDB", "0", "1"])).toEqual(refused);
        expect(await run([["FCALL", name, "0", "SELECT", "1"]], "/multi-exec")).toEqual([refused]);
        expect(await run(["FCALL", name, "0", "GET", "k"])).toEqual({ result: "kept" });
      }
      expect(await run(["FCALL", "door_other", "0"])).toEqual({
        result: ["da39a3ee5e6b4b0d3255bfef95601890afd80709", "FINE"],
      });
      const listed = JSON.stringify(await run(["FUNCTION", "LIST", "WITHCODE"]));
      expect(listed).toContain(JSON.stringify(library));
      await run(["FUNCTION", "FLUSH"]);
    });

    test("a script that is guarded does all else as before, under its own SHA", async () => {
      const script = "local r = redis return {r.call(ARGV[1], KEYS[1], ARGV[2]), r.sha1hex(''), #KEYS}";
      const answer = { result: ["OK", "da39a3ee5e6b4b0d3255bfef95601890afd80709", 1] };
      expect(await run(["EVAL", script, "1", "k", "set", "v"])).toEqual(answer);
      const sha = createHash("sha1").update(script).digest("hex");
      expect(await run(["SCRIPT", "EXISTS", sha])).toEqual({ result: [1] });
      expect(await run(["EVALSHA", sha, "1", "k", "SET", "v"])).toEqual(answer);
      expect(await run(["EVALSHA", sha, "1", "k", "HSET", "v"])).toEqual({
        error: expect.stringContaining(sha),
      });
    });

    test.each([
      ["SCRIPT", "DEBUG", "YES"],
      ["FUNCTION", "DUMP"],
      ["function", "restore", "x"],
      ["ACL", "SETUSER", "x", "on"],
      ["ACL", "LIST"],
      ["PFSELFTEST"],
    ])("%s %s is refused: it would reach into what others do", async (...command) => {
      expect(await run(command)).toEqual({ error: expect.stringMatching(/^ERR Command is not available/) });
    });
  });
});

describe.skipIf(!engines[1]?.available)("a Redis of the user's own (needs redis-server)", () => {
  let backend: Awaited<ReturnType<(typeof engines)[number]["open"]>>;
  let redis: IORedis;
  beforeAll(async () => {
    backend = await (engines[1] as (typeof engines)[number]).open();
    redis = new IORedis(backend.redis as string);
  });
  afterAll(async () => {
    redis.disconnect();
    await backend.close();
  });

  describe("behind a dev server", () => {
    const suite = useDevServer(async () => ({ ...backend, close: async () => {} }));

    beforeEach(async () => {
      await redis.set("k", "kept");
    });

    test("connects nowhere when a script says MIGRATE", async () => {
      let reached = false;
      const target = createServer((socket) => {
        reached = true;
        socket.end();
      });
      await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
      const { port } = target.address() as { port: number };
      for (const name of ["redis.call", "another name", "loadstring", "a pcall"] as const) {
        const command = ["MIGRATE", "127.0.0.1", `${port}`, "k", "0", "200"];
        await suite.run(["EVAL", scripts[name], "0", ...command]);
      }
      target.close();
      expect([reached, await redis.get("k")]).toEqual([false, "kept"]);
    });

    test("keeps its users, and its other clients may run what they could", async () => {
      expect(await redis.call("ACL", "LIST")).toHaveLength(1);
      expect(await redis.eval("return redis.call('SWAPDB', 0, 0)", 0)).toBe("OK");
    });

    test("runs a script that names what it calls as it is: others find it under its SHA", async () => {
      const script = "local t = redis.call(\"TIME\") return redis.call('GET', KEYS[1])";
      await suite.run(["EVAL", script, "1", "k"]);
      const sha = createHash("sha1").update(script).digest("hex");
      expect(await redis.evalsha(sha, 1, "k")).toBe("kept");
    });
  });
});

describe("the guard", () => {
  const guard = createGuard({ embedded: false, conditions: false, twins: true });

  test.each([
    [
      "a script that names what it calls",
      "local v = redis.call('GET', KEYS[1]) return redis.pcall(\"TIME\")",
    ],
    ["functions that run nothing", 'return redis.status_reply(redis.sha1hex("")) .. redis.LOG_NOTICE'],
    [
      "a comment that says redis",
      "-- asks redis for it\n  -- and load it\nreturn redis.pcall( 'GET' , KEYS[1])",
    ],
    ["no command at all", "return 1"],
  ])("leaves %s as they are", (_what, script) => {
    expect(guard.script(script, [])).toBe(script);
  });

  test.each([
    ...Object.values(scripts),
    'return redis.call("MIGRATE", ARGV[1])',
    'return redis.call("migrate", ARGV[1])',
    'return redis.call("MI" .. "GRATE", ARGV[1])',
    'return redis.call("\\77IGRATE", ARGV[1])',
    "return redis.call('MIGRATE')",
    'return redis.call "MIGRATE"',
    "return redis --[[ x ]] .call(ARGV[1])",
    'redis.log = 1 return redis.call("GET", redis)',
    "return [[\n-- ]] .. redis.call(ARGV[1])",
  ])("is put before %j, on its line", (script) => {
    const guarded = guard.script(script, []);
    expect(guarded).not.toBe(script);
    expect(guarded.split("\n").length).toBe(script.split("\n").length);
    expect(guarded.startsWith("#!lua flags")).toBe(script.startsWith("#!lua flags"));
    expect(guard.undo(guarded)).toBe(script);
  });
});
