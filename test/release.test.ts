import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };

describe("the check of a release", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "serverless-lock-release-"));
    mkdirSync(join(folder, ".ci"));
    for (const file of [".ci/release.ts", "package.json", "package-lock.json", "CHANGELOG.md"])
      cpSync(file, join(folder, file));
    edit("package.json", (text) => text.replaceAll("OWNER", "shop"));
    edit("CHANGELOG.md", (text) => text.replace(/^(## \S+) \(.*\)$/m, "$1 (2026-12-01)"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function edit(file: string, change: (text: string) => string): void {
    const path = join(folder, file);
    writeFileSync(path, change(readFileSync(path, "utf8")));
  }
  function check(tag = `v${manifest.version}`): string[] {
    const { status, stderr } = spawnSync(process.execPath, [join(folder, ".ci/release.ts"), tag], {
      encoding: "utf8",
    });
    expect(status).toBe(stderr ? 1 : 0);
    return stderr.split("\n").filter(Boolean);
  }

  test("passes what is ready", () => {
    expect(check()).toEqual([]);
  });

  test("refuses another version's tag", () => {
    expect(check("v9.9.9")).toEqual([`The tag is v9.9.9, and package.json has ${manifest.version}.`]);
  });

  test("refuses a version without its day in the changelog", () => {
    edit("CHANGELOG.md", (text) => text.replace("(2026-12-01)", "(unreleased)"));
    expect(check()).toEqual([expect.stringContaining("CHANGELOG.md has no")]);
  });

  test("refuses addresses that nobody has filled in, and a lock file of another version", () => {
    edit("package.json", (text) => text.replaceAll("/shop/", "/OWNER/"));
    edit("package-lock.json", (text) =>
      text.replace(`"version": "${manifest.version}"`, '"version": "0.0.1"'),
    );
    expect(check()).toEqual([
      expect.stringContaining("package-lock.json"),
      expect.stringContaining("who owns the repository"),
      expect.stringContaining("who owns the homepage"),
    ]);
  });
});
