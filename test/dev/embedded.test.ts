import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { Redis as IORedis } from "ioredis";
import { describe, expect, test } from "vitest";
import { startDevServer } from "../../src/dev/index.ts";

const listeners = () => process.getActiveResourcesInfo().filter((kind) => kind === "TCPServerWrap").length;
const socketOf = ({ redisUrl }: { redisUrl: string }) => new URL(redisUrl).pathname;

describe("the embedded engine", () => {
  test("has no port: the one that a dev server listens on is that of its API", async () => {
    const before = listeners();
    const server = await startDevServer();
    expect(listeners()).toBe(before + 1);
    expect(new URL(server.redisUrl)).toMatchObject({ protocol: "unix:", port: "", host: "" });
    await server.close();
  });

  test("is reached over a socket in a folder of this user's own, which goes with it", async () => {
    const server = await startDevServer();
    const path = socketOf(server);
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
    const redis = new IORedis(server.redisUrl);
    expect(await redis.set("k", "v")).toBe("OK");
    redis.disconnect();
    const response = await fetch(`${server.url}/get/k?_token=${server.token}`);
    expect(await response.json()).toEqual({ result: "v" });
    await server.close();
    expect(existsSync(dirname(path))).toBe(false);
  });

  test("does not wait for its other clients to leave when it is closed", async () => {
    const server = await startDevServer();
    const other = new IORedis(server.redisUrl, { retryStrategy: () => null });
    const ended = new Promise((resolve) => other.on("end", resolve));
    expect(await other.ping()).toBe("PONG");
    await server.close();
    await ended;
  });

  test.each(["throw new Error('uncaught')", "process.exit(0)"])(
    "leaves no folder behind when its process ends by %s, and any number of servers give no warning",
    async (end) => {
      const script = `
        import { startDevServer } from "./src/dev/index.ts";
        const servers = await Promise.all(Array.from({ length: 12 }, () => startDevServer()));
        process.on("warning", (warning) => console.log("warning " + warning.name));
        for (const { redisUrl } of servers) console.log(new URL(redisUrl).pathname);
        setImmediate(() => { ${end} });`;
      const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script]);
      let out = "";
      child.stdout.on("data", (chunk) => {
        out += chunk;
      });
      await new Promise((resolve) => child.on("close", resolve));
      const lines = out.trim().split("\n");
      expect(lines).toHaveLength(12);
      expect(lines.filter((line) => !line.startsWith("/") || existsSync(dirname(line)))).toEqual([]);
    },
  );

  test("can be given to another dev server, which tells apart who runs a script", async () => {
    const first = await startDevServer();
    const second = await startDevServer({ redis: first.redisUrl });
    const own = (server: typeof first) =>
      fetch(server.url, {
        method: "POST",
        headers: { authorization: `Bearer ${server.token}` },
        body: JSON.stringify(["EVAL", "return redis.call('SET', KEYS[1], 'v')", 1, "k"]),
      }).then((response) => response.json());
    expect(await own(first)).toEqual({ result: "OK" });
    expect(await own(second)).toEqual({ result: "OK" });
    expect([first.meter().commands, second.meter().commands]).toEqual([2, 2]);
    await second.close();
    await first.close();
  });
});
