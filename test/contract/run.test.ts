import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

const run = (script: string, ...args: string[]) => {
  const env = { ...process.env, UPSTASH_REDIS_REST_URL: "", UPSTASH_REDIS_REST_TOKEN: "" };
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    env,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
};

test.each([
  "test/contract/run.ts",
  "test/contract/run.ts --url http://127.0.0.1:1",
  "test/contract/run.ts --url 127.0.0.1:8080 --token t",
  "test/contract/run.ts --nonsense",
  "test/engines/run.ts --nonsense",
])("wrong arguments end with exit code 2 and what is right: %s", (command) => {
  const [script = "", ...args] = command.split(" ");
  expect(run(script, ...args)).toMatchObject({
    status: 2,
    stdout: "",
    stderr: expect.stringContaining("Usage: npm run"),
  });
});

test("a server that cannot be asked is told in a line", () => {
  const { status, stderr } = run("test/contract/run.ts", "--url", "http://127.0.0.1:1", "--token", "t");
  expect([status, stderr]).toEqual([1, "http://127.0.0.1:1 cannot be asked: fetch failed\n"]);
});
