import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { FAULT_KINDS } from "../../src/dev/faults.ts";
import { runChild } from "../helpers/child.ts";

describe("on the command line, faults", () => {
  const dev = (...args: string[]) =>
    spawnSync(process.execPath, ["src/cli.ts", "dev", ...args], { encoding: "utf8" });

  test("are flags, can be switched while it runs, and are told at the end", async () => {
    const faults = ["--status-503", "1", "--sse-refuse", ".5", "--delay", "1s", "--seed", "9"];
    const cli = runChild("../../src/cli.ts", ["dev", "--port", "0", "--token", "t0k3n", ...faults]);
    const url = (await cli.line("UPSTASH_REDIS_REST_URL=")).split("=")[1] as string;
    const ask = (path: string, init: RequestInit = {}) =>
      fetch(url + path, { headers: { authorization: "Bearer t0k3n" }, ...init });
    expect((await ask("/ping")).status).toBe(503);
    expect((await (await ask("/faults")).json()).set).toEqual({
      status503: 1,
      sseRefuse: 0.5,
      delay: 1000,
      seed: 9,
    });
    await ask("/faults", { method: "POST", body: "{}" });
    expect((await ask("/ping")).status).toBe(200);
    cli.process.kill("SIGTERM");
    await cli.line("faults");
    expect(await cli.line("  ")).toBe("  status503 1");
    expect(await cli.ended).toBe(0);
  });

  test.each([
    [["--drop-request", "often"], '--drop-request: got "often", expected a probability from 0 to 1'],
    [["--status-429", "0.7", "--cut-body", "0.7"], "--status-429 + --cut-body: got 1.4, expected at most 1"],
    [["--seed", "1.5"], "--seed: got 1.5, expected an integer"],
    [["--delay", "1 parsec"], '--delay: got "1 parsec", expected milliseconds'],
    [["--reset"], "--reset"],
  ])("are refused as %j", (args, message) => {
    const { status, stdout, stderr } = dev(...args);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(message);
  });

  test("are all in the help", () => {
    const { stdout } = dev("--help");
    for (const kind of [...FAULT_KINDS, "delay", "seed"]) {
      const flag = `--${kind.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`).replace("status", "status-")}`;
      expect(stdout).toContain(flag);
    }
  });
});
