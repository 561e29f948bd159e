import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import newcomer from "../newcomer/package.json" with { type: "json" };
import { tasks } from "../newcomer/tasks.ts";
import { pages } from "./pages.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = join(root, ".vitest/blocks");

/** Packages that are installed apart from the rest. */
const apart = {
  redlock: "test/storm/node_modules/redlock/dist/index.d.ts",
  "redis-semaphore": "test/storm/node_modules/redis-semaphore/lib/index.d.ts",
  "next/server": "test/runtimes/guest/node_modules/next/server.d.ts",
};
const missing = Object.entries(apart).filter(([, types]) => !existsSync(join(root, types)));

/** What shows that a block is of a framework that only a newcomer's task has installed. */
const frameworks = [
  "Deno.",
  ...Object.keys(newcomer.dependencies)
    .filter((name) => !(name in manifest.devDependencies || name in apart))
    .map((name) => name.replace(/^@types\//, ""))
    .map((name) => `from "${name}"`),
];
const ofFramework = ({ code }: Block) => frameworks.some((mark) => code.includes(mark));

interface Block {
  /** For example `docs/hono.md, line 4`. */
  place: string;
  page: string;
  /** Of the file that the block says it is. */
  name: string;
  /** Of its file in the folder. */
  path: string;
  code: string;
}

const blocks = pages.flatMap(({ file, text }) => {
  const named = new Set<string>();
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(({ 1: code = "", index }): Block => {
    const line = text.slice(0, index).split("\n").length + 1;
    // A block that begins with the name of a file may be imported by others of its page.
    const [, name = `line-${line}.ts`] = /^\/\/ (\S+\.ts)\n/.exec(code) ?? [];
    const path = join(file.replace(/\W/g, "-"), named.has(name) ? `line-${line}/${name}` : name);
    named.add(name);
    return { place: `${file}, line ${line}`, page: file, name, path, code };
  });
});

test("there are blocks of code in README and docs", () => {
  expect(blocks.length).toBeGreaterThan(30);
});

test("every block of a framework that is not installed here is compiled by a newcomer's task", () => {
  const left = blocks
    .filter(ofFramework)
    .filter(
      ({ page, name }) => !tasks.some((task) => page === `docs/${task.page}` && task.files.includes(name)),
    );
  expect(left.map(({ place }) => place)).toEqual([]);
});

test("every other block of code in README and docs compiles", (context) => {
  const needs = ({ code }: Block) => missing.find(([name]) => code.includes(`from "${name}"`))?.[0];
  const left = blocks.filter((block) => !needs(block) && !ofFramework(block));
  rmSync(folder, { recursive: true, force: true });
  for (const { path, code } of left) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${code}export {};\n`);
  }
  const paths = Object.fromEntries(Object.entries(apart).map(([name, types]) => [name, [join(root, types)]]));
  const tsconfig = {
    extends: "../../tsconfig.json",
    // As a bundler resolves them: by `nodenext`, @upstash/lock's types clash with those of @upstash/redis.
    compilerOptions: { paths, types: ["node"], module: "preserve", moduleResolution: "bundler" },
    include: [".", "../../test/docs/given.d.ts"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig));
  const { stdout } = spawnSync(join(root, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8" });
  expect(located(stdout)).toEqual([]);
  const without = blocks.filter(needs).map((block) => `${block.place} needs ${needs(block)}`);
  if (without.length)
    context.skip(`${without.join(", ")}: npm ci --prefix test/storm (or test/runtimes/guest)`);
});

/** Errors of tsc, each with its place in the page. */
function located(output: string): string[] {
  const errors = output.split("\n").filter((line) => /error TS\d+/.test(line));
  return errors.map((error) => {
    const [, path = "", row = "0", what] = /^(.*?)\((\d+),\d+\): (.*)$/.exec(error) ?? [];
    const block = blocks.find((each) => path.replaceAll("\\", "/").endsWith(each.path.replaceAll("\\", "/")));
    return block ? `${block.place}, its line ${row}: ${what}` : error;
  });
}
