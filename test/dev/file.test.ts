import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { until } from "./suite.ts";

describe("the embedded engine's file", () => {
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "serverless-lock-file-"));
    file = join(folder, "data");
  });
  afterEach(() => rm(folder, { recursive: true }));

  const run = async ({ url, token }: { url: string; token: string }, command: unknown[], path = "/") => {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(command) });
    return response.json();
  };
  const library = "#!lua name=lib\nredis.register_function('f', function() return 'from the library' end)";

  test("keeps every type, with its time to live, and the functions, from one start to the next", async () => {
    const first = await startDevServer({ file });
    await run(
      first,
      [
        ["SET", "string", "\u0000é"],
        ["SET", "timed", "v", "PX", "600000"],
        ["SET", "short", "v", "PX", "1"],
        ["RPUSH", "list", "a", "b"],
        ["SADD", "set", "a"],
        ["ZADD", "zset", "1.5", "a", "inf", "b", "-inf", "c"],
        ["HSET", "hash", "f", "v"],
        ["HPEXPIRE", "hash", "600000", "FIELDS", "1", "f"],
        ["XADD", "stream", "1-0", "a", "b"],
        ["XGROUP", "CREATE", "stream", "g", "0"],
        ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "stream", ">"],
        ["FUNCTION", "LOAD", library],
      ],
      "/pipeline",
    );
    await first.close();
    const second = await startDevServer({ file });
    const read = [
      [["GET", "string"], "\u0000é"],
      [
        ["LRANGE", "list", "0", "-1"],
        ["a", "b"],
      ],
      [["SMEMBERS", "set"], ["a"]],
      [
        ["ZRANGE", "zset", "0", "-1", "WITHSCORES"],
        ["c", "-inf", "a", "1.5", "b", "inf"],
      ],
      [
        ["HGETALL", "hash"],
        ["f", "v"],
      ],
      [["XRANGE", "stream", "-", "+"], [["1-0", ["a", "b"]]]],
      [
        ["XPENDING", "stream", "g"],
        [1, "1-0", "1-0", [["c", expect.anything()]]],
      ],
      [["FCALL", "f", "0"], "from the library"],
      [["EXISTS", "short"], 0],
    ];
    for (const [command, result] of read) {
      expect([command, await run(second, command as string[])]).toEqual([command, { result }]);
    }
    for (const command of [
      ["PTTL", "timed"],
      ["HPTTL", "hash", "FIELDS", "1", "f"],
    ]) {
      const { result } = (await run(second, command)) as { result: number | number[] };
      expect([result].flat()[0]).toBeGreaterThan(0);
    }
    await second.close();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  test("is written soon after a change, so that a killed process loses no more", async () => {
    const code = `import { startDevServer } from "./src/dev/index.ts";
      const { url, token } = await startDevServer({ file: ${JSON.stringify(file)} });
      console.log(JSON.stringify({ url, token }));`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", code]);
    const server = await new Promise<Pick<DevServer, "url" | "token">>((resolve) =>
      child.stdout.once("data", (chunk) => resolve(JSON.parse(`${chunk}`))),
    );
    await run(server, ["SET", "k", "kept"]);
    await until(async () => (await readFile(file, "utf8")).includes(Buffer.from("kept").toString("base64")));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    const next = await startDevServer({ file });
    expect(await run(next, ["GET", "k"])).toEqual({ result: "kept" });
    await next.close();
  });

  test.each(["", "nonsense", '{"version":2}', "null"])(
    "that holds %j is refused by name, and left as it is",
    async (text) => {
      await writeFile(file, text);
      await expect(startDevServer({ file })).rejects.toThrow(`The file ${file} was not written by`);
      expect(await readFile(file, "utf8")).toBe(text);
    },
  );

  test("that cannot be written is refused at the start", async () => {
    await expect(startDevServer({ file: join(folder, "none", "data") })).rejects.toThrow(/none/);
    await expect(startDevServer({ file: folder })).rejects.toThrow(folder);
  });

  test("starts with nothing left of the server before, when none is given", async () => {
    const server = await startDevServer();
    expect(await run(server, ["DBSIZE"])).toEqual({ result: 0 });
    await server.close();
  });
});
