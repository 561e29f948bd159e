import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { hasRedisServer } from "../helpers/redis-server.ts";

const program = fileURLToPath(new URL("storm.ts", import.meta.url));
/** A storm lasts up to twice its minutes, and its clients have 20 s to finish. */
const limit = 5 * 60_000;

async function storm(...args: string[]) {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit"),
  ]);
  return { output, errors, code };
}

describe.skipIf(!hasRedisServer)("a storm (needs redis-server)", () => {
  test("of one minute with locks of all kinds finds nothing wrong, and sees enough to tell", {
    timeout: limit,
  }, async () => {
    // A machine that is busy with other tests gets less done.
    const { output, code } = await storm("--minutes", "1", "--least", "300");
    expect(output).not.toContain("MISS");
    expect(output).toMatch(/kinds of faults that fired +≥ 18 +18 +pass/);
    expect(code, output).toBe(0);
  });

  test("of results, with an operator, finds nothing wrong", { timeout: limit }, async () => {
    const { output, code } = await storm(
      "--minutes",
      "0.5",
      "--kinds",
      "results",
      "--operator",
      "safe",
      "--least",
      "100",
    );
    expect(output).not.toContain("MISS");
    expect(output).toMatch(/released by an operator +[1-9]/);
    expect(code, output).toBe(0);
  });

  test.each([
    ["release without comparison", "overlap", "--kinds exclusive"],
    ["non-idempotent take", "verdict", "--kinds exclusive"],
    ["validity counted from the reply", "validity", "--kinds exclusive"],
    ["a safe release that frees at once", "overlap", "--operator safe"],
    ["a result stored by a holder that lost its lock", "lost", "--kinds results"],
  ])(
    "finds what is wrong with a lock that has the defect: %s",
    { timeout: limit },
    async (defect, finding, which) => {
      const until = ["--until", finding, "--minutes", "2"];
      const { output, code } = await storm("--library", defect, ...which.split(" "), ...until);
      expect(output).toContain(`  ${finding}: `);
      expect(output).toContain('{"what":"asked",');
      expect(code).toBe(1);
    },
  );

  test("over a Redis that forgets sees two holders, and every stale write refused", {
    timeout: limit,
  }, async () => {
    const { output, code } = await storm("--persistence", "none", "--least", "100");
    expect(output).toContain("  overlap: ");
    expect(output).not.toContain("MISS");
    expect(code, output).toBe(0);
  });

  test("in which too little happened is a failure", { timeout: limit }, async () => {
    const { output, code } = await storm("--minutes", "0.05", "--least", "100000");
    expect(output).toMatch(/acquisitions +≥ 100000 +\d+ +MISS/);
    expect(code).toBe(1);
  });

  test("writes no token, neither to its output nor to its logs", { timeout: limit }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "storm-test-"));
    const { output, errors } = await storm("--minutes", "0.1", "--logs", folder);
    const files = await readdir(folder, { recursive: true, withFileTypes: true });
    const logs = await Promise.all(
      files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name), "utf8")),
    );
    const written = [output, errors, ...logs].join("\n");
    expect(written).toContain('"what":"acquired"');
    // An error of Redis names a script by the 40 digits of its hash.
    expect(written.match(/\b[0-9a-f]{32}\b|Bearer/g)).toBe(null);
    await rm(folder, { recursive: true });
  });

  test("says what is wrong with its options", { timeout: limit }, async () => {
    const wrong = [
      ["--library", "nobody's"],
      ["--until", "doomsday"],
      ["--persistence", "some"],
      ["--kinds", "some"],
      ["--operator", "some"],
      ["--operator", "safe", "--library", "@upstash/lock"],
      ["--kinds", "results", "--library", "redlock"],
      ["--kinds", "permits", "--library", "@upstash/lock"],
      ["--minutes", "0"],
      ["--weather", "fine"],
    ];
    for (const args of wrong) {
      const { errors, code } = await storm(...args);
      expect(errors).toContain(args[0]);
      expect(code).toBe(2);
    }
  });
});
