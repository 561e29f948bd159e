import { Redis as IORedis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { newerEngines } from "../helpers/newer-engines.ts";
import { hasRedisServer, type RunningRedis, startRedis } from "../helpers/redis-server.ts";
import { until } from "./suite.ts";

describe.each([
  { name: "redis-server", available: hasRedisServer, options: {} },
  ...newerEngines.map(({ name, command }) => ({ name, available: true, options: { command } })),
])("WAIT in front of a Redis with a replica, on $name", ({ available, options }) => {
  describe.skipIf(!available)("(needs redis-server)", () => {
    let primary: RunningRedis;
    let replica: RunningRedis;
    let server: DevServer;
    let straight: IORedis;
    beforeAll(async () => {
      primary = await startRedis({ ...options, args: ["--repl-diskless-sync-delay", "0"] });
      replica = await startRedis({ ...options, args: ["--replicaof", "127.0.0.1", `${primary.port}`] });
      server = await startDevServer({ redis: primary.url });
      straight = new IORedis(primary.url);
      await until(async () => (await straight.info("replication")).includes("state=online"));
      await until(async () => (await run(["WAIT", "1", "1000"])).result === 1);
    });
    afterAll(async () => {
      straight?.disconnect();
      await server?.close();
      await replica?.close();
      await primary?.close();
    });
    const run = async (command: unknown[], path = "/") => {
      const headers = { authorization: `Bearer ${server.token}` };
      const response = await fetch(server.url + path, {
        method: "POST",
        headers,
        body: JSON.stringify(command),
      });
      return response.json();
    };
    /** Runs the test while the replica confirms nothing. */
    async function whileSilent(task: () => Promise<void>): Promise<void> {
      process.kill(replica.pid, "SIGSTOP");
      try {
        await task();
      } finally {
        process.kill(replica.pid, "SIGCONT");
      }
    }

    test("counts the replicas that confirmed what stands before it in its pipeline", async () => {
      const commands = [
        ["SET", "a", "1"],
        ["WAIT", "1", "5000"],
        ["GET", "a"],
      ];
      const answers = [{ result: "OK" }, { result: 1 }, { result: "1" }];
      expect(await run(commands, "/pipeline")).toEqual(answers);
      await whileSilent(async () => {
        expect(await run(commands.with(1, ["WAIT", "1", "50"]), "/pipeline")).toEqual(
          answers.with(1, { result: 0 }),
        );
      });
    });

    test("covers what was written by earlier requests and other connections", async () => {
      await whileSilent(async () => {
        await run(["SET", "a", "2"]);
        expect(await run(["WAIT", "1", "50"])).toEqual({ result: 0 });
      });
      expect(await run(["WAIT", "1", "5000"])).toEqual({ result: 1 });
      await whileSilent(async () => {
        await straight.set("b", "1");
        expect(await run(["WAIT", "1", "50"])).toEqual({ result: 0 });
      });
    });

    test("holds up nobody else, and not another WAIT", async () => {
      await whileSilent(async () => {
        await run(["SET", "a", "3"]);
        const ended: string[] = [];
        const waits = ["5000", "5000"].map((ms) => run(["WAIT", "1", ms]).then(() => ended.push("WAIT")));
        expect(await run(["WAIT", "1", "20"])).toEqual({ result: 0 });
        expect(await run(["GET", "a"])).toEqual({ result: "3" });
        expect(ended).toEqual([]);
        process.kill(replica.pid, "SIGCONT");
        await Promise.all(waits);
      });
    });

    test("answers at once in a transaction, as Redis does", async () => {
      expect(
        await run(
          [
            ["SET", "a", "4"],
            ["WAIT", "1", "0"],
          ],
          "/multi-exec",
        ),
      ).toEqual([{ result: "OK" }, { result: expect.any(Number) }]);
    });

    test("WAITAOF counts the replicas, and a local copy that Upstash would have", async () => {
      await run(["SET", "a", "5"]);
      expect(await run(["WAITAOF", "1", "1", "5000"])).toEqual({ result: [1, 1] });
      await whileSilent(async () => {
        await run(["SET", "a", "6"]);
        expect(await run(["WAITAOF", "1", "1", "50"])).toEqual({ result: [1, 0] });
      });
    });

    test("has no connection left when the server is closed", async () => {
      const other = await startDevServer({ redis: primary.url });
      const clients = async () => `${await straight.call("CLIENT", "LIST")}`.trim().split("\n").length;
      const headers = { authorization: `Bearer ${other.token}` };
      // One of its own for WAIT, and one that watches scripts.
      for (const body of ['["WAIT","1","10"]', '["EVAL","return 1","0"]']) {
        await (await fetch(other.url, { method: "POST", headers, body })).text();
      }
      const before = await clients();
      await other.close();
      await until(async () => (await clients()) <= before - 3);
    });
  });
});
