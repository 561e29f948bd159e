import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { beforeAll, describe, expect, test } from "vitest";

const start = (...args: string[]) =>
  spawnSync(process.execPath, ["functions/start.ts", ...args], { encoding: "utf8" });

describe("npm start -- --once", () => {
  let run: SpawnSyncReturns<string>;
  beforeAll(() => {
    run = start("--once");
  });

  test("ends with status 0 and says nothing else", () => {
    expect(run.stderr).toBe("");
    expect(run.status).toBe(0);
  });

  test("shows one charge that got in and nine turned away", () => {
    const rows = run.stdout.split("\n").filter((line) => /^ +\d+ +(200|423) /.test(line));
    expect(rows).toHaveLength(10);
    expect(rows.filter((row) => / 200 .*got in$/.test(row))).toHaveLength(1);
    expect(rows.filter((row) => / 423 +10 s .*turned away$/.test(row))).toHaveLength(9);
  });

  test("shows what each costs: two requests, and two billed commands where nothing contends", () => {
    expect(run.stdout).toMatch(/a charge that got in +2 +2 +SET, DELEX\n/);
    expect(run.stdout).toMatch(/one turned away +1 +1 +SET\n/);
    expect(run.stdout).toMatch(/all 10 at once +11 +11 /);
  });

  test("fits a terminal", () => {
    expect(Math.max(...run.stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});

describe("npm start", () => {
  test("refuses an option nobody knows with status 2", () => {
    const { status, stderr } = start("--twice");
    expect(status).toBe(2);
    expect(stderr).toContain("--twice");
  });

  test("stays up with URLs that answer, and ends with status 0 and the meter at Ctrl-C", async () => {
    const child = spawn(process.execPath, ["functions/start.ts"], { stdio: ["ignore", "pipe", "inherit"] });
    const exit = once(child, "exit");
    let output = "";
    await new Promise<void>((resolve, reject) => {
      child.stdout.setEncoding("utf8").on("data", (chunk) => {
        output += chunk;
        if (output.includes("UPSTASH_REDIS_REST_TOKEN=")) resolve();
      });
      child.once("exit", () => reject(new Error(`It ended:\n${output}`)));
    });
    const charge = /curl -i -X POST (\S+)/.exec(output)?.[1] as string;
    expect((await fetch(charge, { method: "POST" })).status).toBe(200);
    child.kill("SIGINT");
    expect(await exit).toEqual([0, null]);
    expect(output).toMatch(/\n\d+ requests, \d+ billed commands: /);
    await expect(fetch(charge, { method: "POST" })).rejects.toThrow();
  });
});
