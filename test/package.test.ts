import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { LockBusyError, LockLostError, LockOptionError } from "serverless-lock";
import { startDevServer } from "serverless-lock/dev";
import lock from "serverless-lock/middy";
import { oncePerTick } from "serverless-lock/schedule";
import { describe, expect, test } from "vitest";
import { bundle } from "../bench/lib/bundle.ts";
import manifest from "../package.json" with { type: "json" };

// Of the package as it was built.

const entries = Object.entries(manifest.exports).flatMap(([path, target]) =>
  typeof target === "string" ? [] : [{ name: path.replace(/^\./, manifest.name), target }],
);
const modules = entries
  .flatMap(({ target }) => [target.import.default, target.require.default])
  .filter((file) => !file.includes("/dev/"));

test.each(modules.filter((file) => !file.includes("/otel/")))(
  "%s is one file, and the core another: an import takes its time by the file",
  async (file) => {
    const { files, text } = await bundle(`export * from "${file}"`);
    // The page and web locks are made of what an operator has, too; a fence needs nothing of the core.
    expect(files).toBe(/\/(page|web-locks)\//.test(file) ? 3 : file.includes("/fence/") ? 1 : 2);
    // Loading one of them takes longer than loading the package.
    expect(text).not.toMatch(/from ?"node:|require\("node:/);
  },
);

describe.each(entries)("$name", ({ name, target }) => {
  const require = createRequire(import.meta.url);

  test("has the same names to import and to require", async () => {
    expect(require.resolve(name)).toBe(resolve(target.require.default));
    expect(Object.keys(require(name)).sort()).toEqual(Object.keys(await import(name)).sort());
  });

  test("is required where Node refuses to require an ES module", () => {
    const script = `require(${JSON.stringify(name)})`;
    const { stderr } = spawnSync(process.execPath, ["--no-experimental-require-module", "-e", script], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
  });

  test("has its types where TypeScript knows no exports (node10)", () => {
    const types: Record<string, string[]> = manifest.typesVersions["*"];
    const path = name.slice(manifest.name.length + 1);
    expect(path ? types[path] : [manifest.types]).toEqual([target.require.types]);
  });
});

test("an error of a module that was imported is one of a module that was required, and the other way about", async () => {
  const required: typeof import("serverless-lock") = createRequire(import.meta.url)("serverless-lock");
  expect(required.LockBusyError).not.toBe(LockBusyError);
  expect(new LockBusyError("a", {})).toBeInstanceOf(required.LockBusyError);
  expect(new required.LockBusyError("a", {})).toBeInstanceOf(LockBusyError);
  expect(new required.LockBusyError("a", {})).not.toBeInstanceOf(LockLostError);
});

test("OpenTelemetry's API is the user's own", () => {
  const code = readFileSync("dist/otel/index.js", "utf8");
  const imported = new Set([...code.matchAll(/from "([^"]+)"/g)].map(([, name]) => name));
  expect([...imported].toSorted()).toEqual(["../core.js", "@opentelemetry/api"]);
});

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
  for (const file of globSync("dist/**/*.{js,cjs}")) {
    for (const line of readFileSync(file, "utf8").split("\n")) {
      if (!/Script = \(\) => "/.test(line))
        expect(line.length, `${file}: ${line.slice(0, 80)}`).toBeLessThan(1_000);
    }
  }
});

test("every file has its map, with the sources in it and no path of the machine that built it", () => {
  for (const file of globSync("dist/**/*.{js,cjs}")) {
    expect(readFileSync(file, "utf8")).toMatch(/\/\/# sourceMappingURL=[\w.-]+\.map\n$/);
    const { sources, sourcesContent } = JSON.parse(readFileSync(`${file}.map`, "utf8")) as {
      sources: string[];
      sourcesContent: string[];
    };
    // The command line has its parser in it.
    const own = sources
      .map((source) => relative("src", resolve(join(dirname(file), source))))
      .filter((source) => !source.startsWith("../node_modules/commander/"));
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

test("nothing but what is used of it is packed", () => {
  const packed = spawnSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { encoding: "utf8" });
  const [{ files }] = JSON.parse(packed.stdout) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  const loaded = /^dist\/(?:cli\.js|(?:[\w-]+\/)*[\w-]+\.(?:c?js|d\.c?ts))(?:\.map)?$/;
  // README leads to these: test/docs/links.test.ts.
  const pages = /^docs\/(?:[\w-]+\/)*[\w-]+\.(?:md|svg|png)$|^functions\/(?!serve\.|start\.)[\w-]+\.ts$/;
  const others = paths.filter((path) => !loaded.test(path) && !pages.test(path));
  expect(others.sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "package.json"]);
  const code = paths.filter((path) => /\.c?js$/.test(path));
  const wanted = entries.flatMap(({ target }) => [target.import.default, target.require.default]);
  const own = [...wanted.map((path) => path.slice(2)), "dist/cli.js", "dist/core.js", "dist/core.cjs"];
  expect(code.sort()).toEqual(own.sort());
});
