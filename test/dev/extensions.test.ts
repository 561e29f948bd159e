import { createHash } from "node:crypto";
import { Redis as IORedis } from "ioredis";
import { describe, expect, test } from "vitest";
import { engines } from "./engines.ts";
import { useDevServer } from "./suite.ts";

describe.each(engines)("what the engine lacks, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    describe("made up for", () => {
      const suite = useDevServer(open);
      const { run } = suite;
      const wrongType = { error: "WRONGTYPE Operation against a key holding the wrong kind of value" };
      const syntaxError = { error: "ERR syntax error" };

      test("DELEX IFEQ deletes a key of that value only", async () => {
        await run(["SET", "a", "1"]);
        expect(await run(["DELEX", "a", "IFEQ", "2"])).toEqual({ result: 0 });
        expect(await run(["DELEX", "a", "ifeq", "1"])).toEqual({ result: 1 });
        expect(await run(["DELEX", "a", "IFEQ", "1"])).toEqual({ result: 0 });
      });

      test("DELEX IFNE deletes a key of another value only, and finds none where there is none", async () => {
        await run(["SET", "a", "1"]);
        expect(await run(["DELEX", "a", "IFNE", "1"])).toEqual({ result: 0 });
        expect(await run(["DELEX", "a", "IFNE", "2"])).toEqual({ result: 1 });
        expect(await run(["DELEX", "a", "IFNE", "2"])).toEqual({ result: 0 });
      });

      test("DELEX without a condition deletes a key of any type", async () => {
        await run(["LPUSH", "l", "x"]);
        expect(await run(["DELEX", "l"])).toEqual({ result: 1 });
      });

      test("DELEX refuses what DELEX refuses", async () => {
        await run(["LPUSH", "l", "x"]);
        await run(["SET", "a", "1"]);
        const noString = { error: "ERR Key should be of string type if conditions are specified" };
        const wrongNumber = { error: "ERR wrong number of arguments for 'delex' command" };
        const noDigest = { error: "ERR must be exactly 16 hexadecimal characters" };
        expect(await run(["DELEX", "l", "IFEQ", "x"])).toEqual(noString);
        expect(await run(["DELEX", "l", "NX", "x"])).toEqual(noString);
        expect(await run(["DELEX", "l", "IFDEQ", "x"])).toEqual(noString);
        expect(await run(["DELEX"])).toEqual(wrongNumber);
        expect(await run(["DELEX", "a", "IFEQ"])).toEqual(wrongNumber);
        expect(await run(["DELEX", "none", "IFEQ"])).toEqual(wrongNumber);
        expect(await run(["DELEX", "a", "IFEQ", "1", "2"])).toEqual(wrongNumber);
        expect(await run(["DELEX", "a", "NX", "1"])).toEqual({
          error: "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
        });
        expect(await run(["DELEX", "a", "IFDEQ", "abc"])).toEqual(noDigest);
        expect(await run(["DELEX", "none", "NX", "1"])).toEqual({ result: 0 });
      });

      test("SET IFEQ replaces that value only, and never creates", async () => {
        expect(await run(["SET", "a", "2", "IFEQ", "1"])).toEqual({ result: null });
        expect(await run(["EXISTS", "a"])).toEqual({ result: 0 });
        await run(["SET", "a", "1"]);
        expect(await run(["SET", "a", "3", "IFEQ", "2"])).toEqual({ result: null });
        expect(await run(["SET", "a", "2", "ifeq", "1"])).toEqual({ result: "OK" });
        expect(await run(["GET", "a"])).toEqual({ result: "2" });
      });

      test("SET IFNE replaces another value, and creates", async () => {
        expect(await run(["SET", "a", "1", "IFNE", "1"])).toEqual({ result: "OK" });
        expect(await run(["SET", "a", "2", "IFNE", "1"])).toEqual({ result: null });
        expect(await run(["SET", "a", "2", "IFNE", "3"])).toEqual({ result: "OK" });
      });

      test("SET IFEQ takes the other options before and after it", async () => {
        await run(["SET", "a", "1"]);
        expect(await run(["SET", "a", "1", "PX", "5000", "IFEQ", "1"])).toEqual({ result: "OK" });
        const { result: ms } = (await run(["PTTL", "a"])) as { result: number };
        expect(ms).toBeGreaterThan(0);
        await run(["SET", "a", "2", "IFEQ", "1", "KEEPTTL"]);
        expect(await run(["TTL", "a"])).not.toEqual({ result: -1 });
        expect(await run(["SET", "a", "3", "IFEQ", "2"])).toEqual({ result: "OK" });
        expect(await run(["TTL", "a"])).toEqual({ result: -1 });
      });

      test("SET IFEQ GET answers the old value in either case", async () => {
        await run(["SET", "a", "1"]);
        expect(await run(["SET", "a", "2", "IFEQ", "0", "GET"])).toEqual({ result: "1" });
        expect(await run(["SET", "a", "2", "GET", "IFEQ", "1", "PX", "5000"])).toEqual({ result: "1" });
        expect(await run(["GET", "a"])).toEqual({ result: "2" });
        expect(await run(["SET", "none", "2", "IFEQ", "1", "GET"])).toEqual({ result: null });
      });

      test("SET IFEQ refuses what SET refuses", async () => {
        await run(["LPUSH", "l", "x"]);
        expect(await run(["SET", "l", "1", "IFEQ", "x"])).toEqual(wrongType);
        expect(await run(["SET", "l", "1", "IFDEQ", "x"])).toEqual(wrongType);
        expect(await run(["SET", "a", "1", "NX", "IFEQ", "x"])).toEqual(syntaxError);
        expect(await run(["SET", "a", "1", "IFEQ", "x", "NX", "XX"])).toEqual(syntaxError);
        expect(await run(["SET", "l", "1", "IFEQ", "x", "EX", "soon"])).toEqual({
          error: "ERR value is not an integer or out of range",
        });
        expect(await run(["SET", "a", "1", "IFEQ"])).toEqual(syntaxError);
        expect(await run(["SET", "a", "1", "IFEQ", "x", "IFNE", "y"])).toEqual(syntaxError);
        await run(["SET", "a", "x"]);
        expect(await run(["SET", "a", "1", "IFEQ", "x", "NONSENSE"])).toEqual(syntaxError);
      });

      test("SET takes NX or XX after a condition, and both have to hold", async () => {
        await run(["SET", "a", "1"]);
        expect(await run(["SET", "a", "2", "IFEQ", "1", "NX"])).toEqual({ result: null });
        expect(await run(["SET", "b", "2", "IFEQ", "1", "NX"])).toEqual({ result: null });
        expect(await run(["SET", "b", "2", "IFNE", "1", "XX"])).toEqual({ result: null });
        expect(await run(["SET", "b", "2", "IFNE", "1", "NX"])).toEqual({ result: "OK" });
        expect(await run(["SET", "a", "2", "IFEQ", "1", "XX"])).toEqual({ result: "OK" });
      });

      test("DIGEST, IFDEQ and IFDNE know a value by its XXH3 hash", async () => {
        await run(["MSET", "empty", "", "short", "hello", "long", "x".repeat(1025)]);
        const digests = { empty: "2d06800538d394c2", short: "9555e8555c62dcfd" };
        for (const [key, digest] of Object.entries(digests)) {
          expect(await run(["DIGEST", key])).toEqual({ result: digest });
          expect(await run(["SET", key, "new", "IFDNE", digest])).toEqual({ result: null });
          expect(await run(["SET", key, "new", "IFDEQ", digest.toUpperCase()])).toEqual({ result: "OK" });
        }
        const { result: digest } = (await run(["DIGEST", "long"])) as { result: string };
        expect(digest).toMatch(/^[0-9a-f]{16}$/);
        expect(await run(["DELEX", "long", "IFDNE", digest])).toEqual({ result: 0 });
        expect(await run(["DELEX", "long", "IFDEQ", digest])).toEqual({ result: 1 });
        expect(await run(["DIGEST", "long"])).toEqual({ result: null });
        await run(["LPUSH", "l", "x"]);
        expect(await run(["DIGEST", "l"])).toEqual(wrongType);
        expect(await run(["DIGEST"])).toEqual({
          error: "ERR wrong number of arguments for 'digest' command",
        });
      });

      test("a script may run DELEX, DIGEST and SET on a condition, each billed as one command", async () => {
        const script = `local call = redis.call
          local set = call("SET", KEYS[1], "2", "IFEQ", ARGV[1])
          local digest = redis.call("digest", KEYS[1])
          local failed = redis.pcall("DELEX", KEYS[1], "NX", "2")
          return {set, #digest, failed.err, redis.call("DELEX", KEYS[1], "ifeq", "2"), call("SET", KEYS[1], "3", "IFEQ", "2")}`;
        await run(["SET", "a", "1"]);
        suite.server.resetMeter();
        expect(await run(["EVAL", script, "1", "a", "1"])).toEqual({
          result: ["OK", 16, expect.stringMatching(/^ERR Invalid condition/), 1, null],
        });
        const { byCommand } = suite.server.meter();
        expect(byCommand).toEqual({ eval: 1, set: 2, digest: 1, delex: 2 });
        const failing = 'return redis.call("DELEX", KEYS[1], "NX", "2")';
        await run(["SET", "a", "1"]);
        expect(await run(["EVAL", failing, "1", "a"])).toEqual({
          error: expect.stringMatching(/^ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE/),
        });
        const sha = createHash("sha1").update(failing).digest("hex");
        expect(await run(["EVALSHA", sha, "1", "none"])).toEqual({ result: 0 });
      });

      test("a script may be told what to run by its arguments", async () => {
        const script = "return redis.call(unpack(ARGV))";
        const sha = createHash("sha1").update(script).digest("hex");
        const runs = async (verb: string, what: string, ...command: string[]) =>
          ((await run([verb, what, "0", ...command])) as { result: unknown }).result;
        await run(["SCRIPT", "FLUSH"]);
        await run(["SET", "a", "1"]);
        expect(await runs("EVAL", script, "SET", "a", "2", "IFEQ", "1")).toBe("OK");
        expect(await runs("EVAL", script, "GET", "a")).toBe("2");
        expect(await runs("EVALSHA", sha, "GET", "a")).toBe("2");
        expect(await runs("EVALSHA", sha, "SET", "a", "3", "ifne", "1")).toBe("OK");
        expect(await runs("EVALSHA_RO", sha, "DIGEST", "a")).toMatch(/^[0-9a-f]{16}$/);
        expect(await runs("EVALSHA", sha, "DELEX", "a", "IFEQ", "2")).toBe(0);
        await run(["SCRIPT", "FLUSH"]);
        for (const words of [
          ["DELEX", "a"],
          ["GET", "a"],
        ])
          expect(await run(["EVALSHA", sha, "0", ...words])).toEqual({
            error: expect.stringMatching(/^NOSCRIPT/),
          });
        expect(await run(["SCRIPT", "LOAD", script])).toEqual({ result: sha });
        expect(await runs("EVALSHA", sha, "GET", "a")).toBe("3");
        expect(await runs("EVALSHA", sha, "DELEX", "a", "IFEQ", "3")).toBe(1);
        expect(await run(["EVALSHA", sha, "0", "DELEX", "a", "NOPE", "3"])).toEqual({ result: 0 });
        await run(["SET", "a", "3"]);
        expect(await run(["EVALSHA", sha, "0", "DELEX", "a", "NOPE", "3"])).toEqual({
          error: expect.stringContaining(`script: ${sha}, on @user_script`),
        });
      });

      test("a function may run them too", async () => {
        const library = `#!lua name=lib
          redis.register_function("release", function(keys, args) return redis.call("DELEX", keys[1], "IFEQ", args[1]) end)
          redis.register_function("swap", function(keys, args)
            return {redis.call("SET", keys[1], args[2], "IFEQ", args[1]), #redis.call("DIGEST", keys[1])}
          end)
          redis.register_function("fails", function(keys) return redis.call("DELEX", keys[1], "NX", "1") end)`;
        expect(await run(["FUNCTION", "LOAD", "REPLACE", library])).toEqual({ result: "lib" });
        await run(["SET", "a", "1"]);
        suite.server.resetMeter();
        expect(await run(["FCALL", "swap", "1", "a", "1", "2"])).toEqual({ result: ["OK", 16] });
        expect(suite.server.meter().byCommand).toEqual({ fcall: 1, set: 1, digest: 1 });
        expect(await run(["FCALL", "release", "1", "a", "1"])).toEqual({ result: 0 });
        expect(await run(["FCALL", "fails", "1", "a"])).toEqual({
          error: expect.stringMatching(/^ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE/),
        });
        expect(await run(["FCALL_RO", "release", "1", "a", "2"])).toEqual({
          error: expect.stringContaining("READONLY"),
        });
        expect(await run(["FCALL", "release", "1", "a", "2"])).toEqual({ result: 1 });
        expect(await run(["FUNCTION", "LIST", "WITHCODE"])).toEqual({
          result: [expect.arrayContaining(["library_code", library])],
        });
        await run(["FUNCTION", "DELETE", "lib"]);
      });

      test("SET takes IFEQ for a value where it stands for one", async () => {
        expect(await run(["SET", "a", "IFEQ"])).toEqual({ result: "OK" });
        expect(await run(["SET", "a", "IFNE", "IFEQ", "IFEQ"])).toEqual({ result: "OK" });
        expect(await run(["GET", "a"])).toEqual({ result: "IFNE" });
      });

      test("compares and sets bytes", async () => {
        const { url, token } = suite.server;
        const bytes = Buffer.from([0, 255, 13, 10]);
        const send = (path: string, body: Buffer<ArrayBuffer>) =>
          fetch(`${url}${path}_token=${token}`, { method: "POST", body });
        await send("/set/a?", bytes);
        expect(await (await send("/delex/a/IFEQ?", Buffer.from([0, 254]))).json()).toEqual({ result: 0 });
        expect(await (await send("/delex/a/IFEQ?", bytes)).json()).toEqual({ result: 1 });
      });

      test("works in pipelines and transactions", async () => {
        const commands = [
          ["SET", "a", "1"],
          ["SET", "a", "2", "IFEQ", "1"],
          ["DELEX", "a", "IFEQ", "1"],
          ["DELEX", "a", "IFEQ", "2"],
        ];
        const answers = [{ result: "OK" }, { result: "OK" }, { result: 0 }, { result: 1 }];
        expect(await run(commands, "/pipeline")).toEqual(answers);
        expect(await run(commands, "/multi-exec")).toEqual(answers);
        expect(await run([["SET", "b", "1"], ["DELEX"]], "/multi-exec")).toEqual({
          error: expect.stringMatching(/^EXECABORT .*'delex'/),
        });
        expect(await run(["EXISTS", "b"])).toEqual({ result: 0 });
      });

      test("only one of many conditional writes at once goes through", async () => {
        await run(["SET", "a", "0"]);
        const writes = Array.from({ length: 50 }, (_, i) => run(["SET", "a", `${i + 1}`, "IFEQ", "0"]));
        const won = (await Promise.all(writes)).filter(
          (answer) => (answer as { result: unknown }).result === "OK",
        );
        expect(won).toHaveLength(1);
      });

      describe("the script flag allow-key-locking", () => {
        const script = "#!lua flags=allow-key-locking\n\nreturn {KEYS[1], ARGV[1]}";
        const sha = createHash("sha1").update(script).digest("hex");

        test("is taken by EVAL, SCRIPT LOAD, EVALSHA and SCRIPT EXISTS under the script's own SHA", async () => {
          expect(await run(["EVAL", script, "1", "k", "v"])).toEqual({ result: ["k", "v"] });
          expect(await run(["EVALSHA", sha, "1", "k", "v"])).toEqual({ result: ["k", "v"] });
          await run(["SCRIPT", "FLUSH"]);
          expect(await run(["EVALSHA", sha, "1", "k", "v"])).toEqual({
            error: expect.stringMatching(/^NOSCRIPT/),
          });
          expect(await run(["SCRIPT", "EXISTS", sha])).toEqual({ result: [0] });
          expect(await run(["SCRIPT", "LOAD", script])).toEqual({ result: sha });
          expect(await run(["SCRIPT", "EXISTS", sha])).toEqual({ result: [1] });
          expect(await run(["evalsha", sha.toUpperCase(), "1", "k", "v"])).toEqual({ result: ["k", "v"] });
        });

        test("changes no line number and no SHA in an error", async () => {
          const failing = "#!lua flags=allow-key-locking\nlocal a\nreturn a.b";
          const own = createHash("sha1").update(failing).digest("hex");
          expect(await run(["EVAL", failing, "0"])).toEqual({
            error: `ERR user_script:3: attempt to index local 'a' (a nil value) script: ${own}, on @user_script:3.`,
          });
        });

        test("is recognized on the first line only", async () => {
          expect(await run(["EVAL", "return '#!lua flags=allow-key-locking'", "0"])).toEqual({
            result: "#!lua flags=allow-key-locking",
          });
        });
      });

      test("ECHO answers its argument", async () => {
        expect(await run(["ECHO", "a b"])).toEqual({ result: "a b" });
        expect(await run(["ECHO"])).toEqual({ error: "ERR wrong number of arguments for 'echo' command" });
      });
    });

    describe("left alone with extensions: false", () => {
      const own = useDevServer(open, { extensions: false });

      test("the engine's own answers come through", async () => {
        const redis = new IORedis(own.server.redisUrl);
        const straight = (...command: [string, ...string[]]) =>
          redis.call(...command).then(
            (result) => ({ result }),
            (error: Error) => ({ error: error.message }),
          );
        for (const command of [
          ["DELEX", "a", "IFEQ", "1"],
          ["SET", "a", "1", "IFEQ", "0"],
          ["SET", "a", "1", "IFNE", "0", "XX"],
          ["EVAL", "#!lua flags=allow-key-locking\nreturn 1", "0"],
          ["COPY", "a", "a"],
          ["SCAN", "0", "WITHTYPE"],
          ["EVALSHA", "0".repeat(40), "0"],
          ["COMMAND", "COUNT"],
          [
            "FUNCTION",
            "LOAD",
            "REPLACE",
            "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
          ],
          ["FUNCTION", "LIST"],
          ["FUNCTION", "STATS"],
          ["FUNCTION", "FLUSH"],
        ] as [string, ...string[]][]) {
          expect([command, await own.run(command)]).toEqual([command, await straight(...command)]);
        }
        redis.disconnect();
      });
    });
  });
});
