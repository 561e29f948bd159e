import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { Redis as IORedis } from "ioredis";
import { describe, expect, test } from "vitest";
import { startDevServer } from "../../src/dev/index.ts";
import { loadOptionalPackages } from "../../src/dev/optional-packages.ts";
import { freePort, hasRedisServer, startRedis } from "../helpers/redis-server.ts";
import { until } from "./suite.ts";

const ask = async ({ url, token }: { url: string; token: string }, command: unknown[]) => {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(command) });
  return { status: response.status, body: (await response.json()) as { result?: unknown; error?: string } };
};

describe("a dev server's life", () => {
  test("takes the given port and token", async () => {
    const port = await freePort();
    const server = await startDevServer({ port, token: "secret" });
    expect(server).toMatchObject({ url: `http://127.0.0.1:${port}`, token: "secret" });
    expect(await ask(server, ["PING"])).toEqual({ status: 200, body: { result: "PONG" } });
    await server.close();
  });

  test("is empty at each start, and apart from others", async () => {
    const [a, b] = await Promise.all([startDevServer(), startDevServer()]);
    await ask(a, ["SET", "k", "v"]);
    expect((await ask(b, ["GET", "k"])).body).toEqual({ result: null });
    await Promise.all([a.close(), b.close()]);
  });

  test("says that a port is in use", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    await expect(startDevServer({ port })).rejects.toThrow(
      `The dev server cannot listen on 127.0.0.1:${port}: the port is in use`,
    );
    other.close();
  });

  test("names the Redis that it cannot reach, without its password", async () => {
    const port = await freePort();
    const attempt = startDevServer({ redis: `redis://user:hunter2@127.0.0.1:${port}` });
    await expect(attempt).rejects.toThrow(`Redis at 127.0.0.1:${port} cannot be used: `);
    await expect(attempt).rejects.not.toThrow(/hunter2/);
    const nowhere = startDevServer({ redis: "unix:///nowhere/redis.sock" });
    await expect(nowhere).rejects.toThrow("Redis at /nowhere/redis.sock cannot be used: ");
  });

  test("refuses requests once closed, and may be closed twice", async () => {
    const server = await startDevServer();
    await Promise.all([server.close(), server.close()]);
    await expect(fetch(server.url)).rejects.toThrow();
  });

  test("names the packages that are missing", async () => {
    const packages = loadOptionalPackages(true, async (name) => {
      if (name === "ioredis" || name === "js-redis-server/core") {
        throw Object.assign(new Error(`Cannot find package '${name}'`), { code: "ERR_MODULE_NOT_FOUND" });
      }
      return {};
    });
    await expect(packages).rejects.toThrow(/Run: npm install --save-dev ioredis js-redis-server$/);
  });

  test("lets its process end by itself once closed, streams open or not", async () => {
    const script = `
      import { startDevServer } from "./src/dev/index.ts";
      const server = await startDevServer({ latency: 5 });
      await fetch(server.url + "/set/a/b?_token=" + server.token);
      const stream = await fetch(server.url + "/subscribe/a?_token=" + server.token);
      await stream.body.getReader().read();
      await server.close();
      console.log("closed");`;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script]);
    let out = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    child.stderr.on("data", (chunk) => {
      out += chunk;
    });
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect([code, out]).toEqual([0, "closed\n"]);
  });
});

describe.skipIf(!hasRedisServer)("a dev server whose Redis fails (needs redis-server)", () => {
  test("answers 503 while Redis is down, and goes on when it is back", async () => {
    const redis = await startRedis();
    const server = await startDevServer({ redis: redis.url });
    await ask(server, ["EVAL", "return redis.call('SET', 'k', 'v')", "0"]);
    await redis.close();
    await until(async () => (await ask(server, ["GET", "k"])).status === 503);
    const { body } = await ask(server, ["EVAL", "return 1", "0"]);
    expect(body).toEqual({ error: expect.stringMatching(/^Redis cannot be reached: /) });

    const again = await startRedis({ port: redis.port });
    await until(async () => (await ask(server, ["GET", "k"])).status === 200);
    // Its monitor finds back too: a script's commands are counted again.
    await until(async () => {
      server.resetMeter();
      await ask(server, ["EVAL", "return redis.call('GET', 'k')", "0"]);
      return server.meter().commands === 2;
    });
    await server.close();
    await again.close();
  });

  test("does not send a command again that was under way when Redis died", async () => {
    const redis = await startRedis();
    const server = await startDevServer({ redis: redis.url });
    process.kill(redis.pid, "SIGSTOP");
    const underWay = ask(server, ["INCR", "n"]);
    const streaming = fetch(`${server.url}/subscribe/a?_token=${server.token}`);
    await redis.close();
    expect((await underWay).status).toBe(503);
    expect((await streaming).status).toBe(503);

    const again = await startRedis({ port: redis.port });
    await until(async () => (await ask(server, ["PING"])).status === 200);
    expect((await ask(server, ["GET", "n"])).body).toEqual({ result: null });
    await server.close();
    await again.close();
  });

  test("ends the streams when Redis drops their connection, and opens others", async () => {
    const redis = await startRedis();
    const server = await startDevServer({ redis: redis.url });
    const listen = () => fetch(`${server.url}/subscribe/a?_token=${server.token}`);
    const stream = (await listen()).text().catch(() => "ended");
    const admin = new IORedis(redis.url);
    await until(async () => (await admin.client("KILL", "TYPE", "pubsub")) === 1);
    expect(await stream).toMatch(/^(data: subscribe,a,1\n\n|ended)$/);
    admin.disconnect();
    await until(async () => {
      const { status, body } = await listen();
      await body?.cancel();
      return status === 200;
    });
    await server.close();
    await redis.close();
  });

  test("works where MONITOR is refused, and counts a script as one command then", async () => {
    const redis = await startRedis({
      args: ["--user", "limited", "on", ">pw", "~*", "&*", "+@all", "-monitor"],
    });
    const server = await startDevServer({ redis: redis.url.replace("redis://", "redis://limited:pw@") });
    expect((await ask(server, ["EVAL", "return redis.call('GET', 'k')", "0"])).body).toEqual({
      result: null,
    });
    expect(server.meter().commands).toBe(1);
    await server.close();
    await redis.close();
  });

  test("says that the password is wrong", async () => {
    const redis = await startRedis({ args: ["--requirepass", "right"] });
    await expect(startDevServer({ redis: redis.url })).rejects.toThrow(/cannot be used: .*NOAUTH/);
    const wrong = startDevServer({ redis: redis.url.replace("redis://", "redis://:hunter2@") });
    await expect(wrong).rejects.toThrow(/cannot be used: .*WRONGPASS/);
    await expect(wrong).rejects.not.toThrow(/hunter2/);
    const server = await startDevServer({ redis: redis.url.replace("redis://", "redis://:right@") });
    expect((await ask(server, ["PING"])).status).toBe(200);
    await server.close();
    await redis.close();
  });
});
