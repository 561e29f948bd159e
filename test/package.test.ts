import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { LockOptionError } from "serverless-lock";
import { startDevServer } from "serverless-lock/dev";
import lock from "serverless-lock/middy";
import { oncePerTick } from "serverless-lock/schedule";
import { describe, expect, test } from "vitest";
import { bundle } from "../bench/lib/bundle.ts";
import manifest from "../package.json" with { type: "json" };

// Of the package as it was built.

const modules = Object.values(manifest.exports)
  .map((target) => (typeof target === "string" ? target : target.default))
  .filter((file) => file.endsWith(".js") && !file.includes("/dev/"));

test.each(modules)(
  "%s is one file, and the core another: an import takes its time by the file",
  async (file) => {
    const { files } = await bundle(`export * from "${file}"`);
    // A fence needs nothing of the core.
    expect(files).toBe(file.includes("/fence/") ? 1 : 2);
  },
);

describe("an error that nobody catches", () => {
  const script = `import { memoryLocker } from "serverless-lock/testing";
    const locker = memoryLocker();
    await locker.acquire("a");
    await locker.acquire("a");`;
  const uncaught = (...flags: string[]) =>
    spawnSync(process.execPath, [...flags, "--input-type=module", "-e", script], { encoding: "utf8" }).stderr;

  test.each([[[]], [["--enable-source-maps"]]])(
    "shows the line that threw it, and little else: %j",
    (flags) => {
      const told = uncaught(...flags);
      expect(told).toMatch(/^\s*throw new LockBusyError\(.*\);$/m);
      expect(told).toContain("LockBusyError: The lock");
      expect(told.length).toBeLessThan(2_000);
    },
  );

  test("is traced to the source by its map", () => {
    expect(uncaught("--enable-source-maps")).toMatch(/src.acquire.acquire\.ts:\d+\n/);
  });
});

test("no file has a line that fills a terminal, but for the Lua, which goes over the wire as it is", () => {
  for (const file of globSync("dist/**/*.js")) {
    for (const line of readFileSync(file, "utf8").split("\n")) {
      if (!/Script = \(\) => "/.test(line))
        expect(line.length, `${file}: ${line.slice(0, 80)}`).toBeLessThan(1_000);
    }
  }
});

test("every file has its map, with the sources in it and no path of the machine that built it", () => {
  for (const file of globSync("dist/**/*.js")) {
    expect(readFileSync(file, "utf8")).toMatch(/\/\/# sourceMappingURL=[\w.-]+\.map\n$/);
    const { sources, sourcesContent } = JSON.parse(readFileSync(`${file}.map`, "utf8")) as {
      sources: string[];
      sourcesContent: string[];
    };
    const own = sources.map((source) => relative("src", resolve(join(dirname(file), source))));
    expect(own.filter((source) => source.startsWith(".."))).toEqual([]);
    expect(sourcesContent).toHaveLength(sources.length);
  }
});

test("scripts go over the wire without their indentation and comments", () => {
  const scripts = readFileSync("dist/core.js", "utf8").match(/\w+Script = \(\) => .*/g) ?? [];
  expect(scripts.length).toBeGreaterThan(0);
  for (const script of scripts) expect(script).toMatch(/^\w+Script = \(\) => "/);
  expect(readFileSync("dist/core.js", "utf8")).not.toMatch(/^ +local /m);
});

test("properties keep their names", async () => {
  const [object] = Object.values(await import("serverless-lock/testing"));
  expect(object).toBeDefined();
  const code = readFileSync("dist/core.js", "utf8");
  const source = readFileSync("src/protocol/attempt.ts", "utf8");
  const names = [...source.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, name]) => name as string);
  expect(names.length).toBeGreaterThan(5);
  expect(names.filter((name) => !code.includes(name))).toEqual([]);
});

test("the errors of all its modules are of the same classes", async () => {
  expect(() => lock({ key: "" })).toThrow(LockOptionError);
  expect(() => oncePerTick("")).toThrow(LockOptionError);
  await expect(startDevServer({ port: -1 })).rejects.toThrow(LockOptionError);
});
