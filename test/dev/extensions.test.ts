import { createHash } from "node:crypto";
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
        expect(await run(["DELEX", "l", "IFEQ", "x"])).toEqual(wrongType);
        expect(await run(["DELEX"])).toEqual({ error: "ERR wrong number of arguments for 'delex' command" });
        expect(await run(["DELEX", "a", "NX", "1"])).toEqual(syntaxError);
        expect(await run(["DELEX", "a", "IFEQ"])).toEqual(syntaxError);
        expect(await run(["DELEX", "a", "IFEQ", "1", "2"])).toEqual(syntaxError);
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
        expect(await run(["SET", "a", "1", "IFEQ", "x", "NX"])).toEqual(syntaxError);
        expect(await run(["SET", "a", "1", "IFEQ"])).toEqual(syntaxError);
        expect(await run(["SET", "a", "1", "IFEQ", "x", "IFNE", "y"])).toEqual(syntaxError);
        await run(["SET", "a", "x"]);
        expect(await run(["SET", "a", "1", "IFEQ", "x", "NONSENSE"])).toEqual(syntaxError);
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

    // Both engines here are older than Redis 8.4.
    describe("left alone with extensions: false", () => {
      const { run } = useDevServer(open, { extensions: false });

      test("the engine's own errors come through", async () => {
        expect(await run(["DELEX", "a", "IFEQ", "1"])).toEqual({
          error: expect.stringMatching(
            /^ERR unknown command 'DELEX', with args beginning with: 'a' 'IFEQ' '1'/,
          ),
        });
        expect(await run(["SET", "a", "1", "IFEQ", "0"])).toEqual({ error: "ERR syntax error" });
        expect(await run(["EVAL", "#!lua flags=allow-key-locking\nreturn 1", "0"])).toEqual({
          error: expect.stringMatching(/^ERR /),
        });
      });
    });
  });
});
