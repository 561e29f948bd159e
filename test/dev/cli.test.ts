import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { startDevServer } from "../../src/dev/index.ts";
import { freePort } from "../helpers/redis-server.ts";
import { until } from "./suite.ts";

/** With none of our own variables: a token in them would be taken. */
function cli(...args: string[]) {
  return cliIn({}, ...args);
}

function cliIn(env: Record<string, string>, ...args: string[]) {
  const child = spawn(process.execPath, ["src/cli.ts", ...args], { env: { PATH: process.env.PATH, ...env } });
  const output = { out: "", err: "" };
  child.stdout.on("data", (chunk) => {
    output.out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output.err += chunk;
  });
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, ...output })),
  );
  return { child, output, ended };
}

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };

describe("the command line", () => {
  test.each([[[]], [["--help"]], [["-h"]]])("tells its commands: %j", async (args) => {
    const { code, out, err } = await cli(...args).ended;
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("Usage: serverless-lock <command>");
  });

  test("tells the options of dev", async () => {
    const { code, out } = await cli("dev", "--help").ended;
    expect(code).toBe(0);
    expect(out).toContain("UPSTASH_REDIS_REST_TOKEN");
    for (const option of [
      "port",
      "host",
      "token",
      "redis",
      "file",
      "env-file",
      "latency",
      "jitter",
      "no-extensions",
    ]) {
      expect(out).toContain(`--${option}`);
    }
  });

  test.each([[["--version"]], [["dev", "--version"]]])("tells its version: %j", async (args) => {
    expect(await cli(...args).ended).toEqual({ code: 0, out: `${version}\n`, err: "" });
  });

  test.each([
    [["fly"], "unknown command fly"],
    [["--fly"], "unknown option --fly"],
    [["dev", "--fly"], "'--fly'"],
    [["dev", "fly"], "'fly'"],
    [["dev", "--port"], "--port"],
    [["dev", "--port", "http"], '--port: got "http", expected an integer'],
    [["dev", "--latency", "20 parsecs"], '--latency: got "20 parsecs", expected milliseconds'],
    [["dev", "--file", "x", "--redis", "redis://127.0.0.1"], "--file: got beside redis, expected alone"],
    [["dev", "--redis", "localhost"], '--redis: got "localhost", expected a URL'],
  ])("refuses %j with exit code 2", async (args, message) => {
    const { code, out, err } = await cli(...args).ended;
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(message);
  });

  test("writes --env-file for other programs once requests are taken, and leaves its other lines", async () => {
    const folder = await mkdtemp(join(tmpdir(), "serverless-lock-env-"));
    const file = join(folder, ".env");
    await writeFile(file, "# mine\nOTHER=1\nexport UPSTASH_REDIS_REST_URL=https://old\nLAST=2");
    const { child, output, ended } = cli("dev", "--port", "0", "--token", "t0k3n", "--env-file", file);
    await until(() => output.out.includes("TOKEN=t0k3n\n"));
    const [, url] = /^UPSTASH_REDIS_REST_URL=(\S+)\n/.exec(output.out) ?? [];
    expect(await readFile(file, "utf8")).toBe(
      `# mine\nOTHER=1\nLAST=2\nUPSTASH_REDIS_REST_URL=${url}\nUPSTASH_REDIS_REST_TOKEN=t0k3n\n`,
    );
    expect((await fetch(`${url}/ping?_token=t0k3n`)).status).toBe(200);
    child.kill("SIGTERM");
    expect((await ended).code).toBe(0);
    await rm(folder, { recursive: true });
  });

  test("makes the new file of --write-env readable by its user alone, and refuses one that cannot be written", async () => {
    const folder = await mkdtemp(join(tmpdir(), "serverless-lock-env-"));
    const file = join(folder, "new.env");
    const { child, output, ended } = cli("dev", "--port", "0", "--write-env", file);
    await until(() => output.out.includes("TOKEN="));
    expect(await readFile(file, "utf8")).toBe(output.out);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    child.kill("SIGTERM");
    await ended;
    const { code, err } = await cli("dev", "--port", "0", "--write-env", join(folder, "none", ".env")).ended;
    expect([code, err]).toEqual([2, expect.stringContaining("--write-env: ")]);
    await rm(folder, { recursive: true });
  });

  test("takes a token that may only read, from the environment too", async () => {
    const env = { KV_REST_API_READ_ONLY_TOKEN: "reader" };
    const { child, output, ended } = cliIn(env, "dev", "--port", "0");
    await until(() => output.out.includes("TOKEN="));
    const [, url] = /^UPSTASH_REDIS_REST_URL=(\S+)\n/.exec(output.out) ?? [];
    expect((await fetch(`${url}/get/a?_token=reader`)).status).toBe(200);
    expect(await (await fetch(`${url}/set/a/b?_token=reader`)).json()).toEqual({
      error: expect.stringMatching(/^NOPERM /),
    });
    child.kill("SIGTERM");
    await ended;
    const same = cli("dev", "--token", "a", "--read-only-token", "a");
    const { code, err } = await same.ended;
    expect([code, err]).toEqual([2, expect.stringContaining("--read-only-token: got the same as token")]);
  });

  test("takes its secrets from the environment, so that no list of processes shows them", async () => {
    const redis = await startDevServer();
    const env = { UPSTASH_REDIS_REST_TOKEN: "t0k3n", SERVERLESS_LOCK_DEV_REDIS: redis.redisUrl };
    const { child, output, ended } = cliIn(env, "dev", "--port", "0");
    await until(() => output.out.includes("TOKEN=t0k3n\n"));
    const url = /^UPSTASH_REDIS_REST_URL=(\S+)\n/.exec(output.out)?.[1];
    await fetch(`${url}/set/a/b`, { headers: { authorization: "Bearer t0k3n" } });
    const behind = await fetch(`${redis.url}/get/a?_token=${redis.token}`);
    expect(await behind.json()).toEqual({ result: "b" });
    expect(child.spawnargs.join(" ")).not.toContain("t0k3n");
    child.kill("SIGHUP");
    expect((await ended).code).toBe(0);
    await redis.close();
  });

  test("prefers what the command line says, and takes an empty variable for none", async () => {
    for (const [env, args, token] of [
      [{ UPSTASH_REDIS_REST_TOKEN: "other" }, ["--token", "t0k3n"], /^t0k3n$/],
      [{ UPSTASH_REDIS_REST_TOKEN: "", SERVERLESS_LOCK_DEV_REDIS: "" }, [], /^[\w-]{32}$/],
    ] as const) {
      const { child, output, ended } = cliIn(env, "dev", "--port", "0", ...args);
      await until(() => output.out.includes("TOKEN="));
      expect(/TOKEN=(.*)\n/.exec(output.out)?.[1]).toMatch(token);
      child.kill();
      await ended;
    }
  });

  test.each([
    [{ UPSTASH_REDIS_REST_TOKEN: "hunter 2" }, "UPSTASH_REDIS_REST_TOKEN: got an unsuitable string"],
    [
      { SERVERLESS_LOCK_DEV_REDIS: "localhost" },
      'SERVERLESS_LOCK_DEV_REDIS: got "localhost", expected a URL',
    ],
  ])("names the variable %o that it refuses", async (env, message) => {
    const { code, err } = await cliIn(env, "dev").ended;
    expect(code).toBe(2);
    expect(err).toContain(message);
    expect(err).not.toContain("hunter");
  });

  test("exits with 1 when it cannot start", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    const taken = await cli("dev", "--port", `${port}`).ended;
    other.close();
    expect([taken.code, taken.out]).toEqual([1, ""]);
    expect(taken.err).toContain(`127.0.0.1:${port}: the port is in use`);
    const nowhere = await cli("dev", "--port", "0", "--redis", `redis://127.0.0.1:${await freePort()}`).ended;
    expect(nowhere.code).toBe(1);
    expect(nowhere.err).toContain("cannot be used");
  });

  test.each(["SIGINT", "SIGTERM"] as const)("serves until %s, then tells what was used", async (signal) => {
    const { child, output, ended } = cli(
      "dev",
      "--port",
      "0",
      "--token",
      "t0k3n",
      "--latency",
      "2",
      "--jitter",
      "1ms",
    );
    await until(() => output.out.includes("TOKEN=t0k3n\n"));
    const url = /^UPSTASH_REDIS_REST_URL=(\S+)\nUPSTASH_REDIS_REST_TOKEN=t0k3n\n/.exec(output.out)?.[1];
    const set = await fetch(`${url}/set/a/b`, { headers: { authorization: "Bearer t0k3n" } });
    expect(await set.json()).toEqual({ result: "OK" });
    await fetch(`${url}/get/a`, { headers: { authorization: "Bearer t0k3n" } });
    child.kill(signal);
    const { code, out, err } = await ended;
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("2 requests, 2 billed commands\n  set 1\n  get 1\n");
  });
});
