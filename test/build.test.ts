import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

/** Builds a copy of the project in which something was changed. */
describe("the build", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "serverless-lock-build-"));
    const files = ["src", "build.ts", "package.json", "tsconfig.json", "tsconfig.build.json", "luamin.d.ts"];
    for (const name of files) cpSync(name, join(folder, name), { recursive: true });
    symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const build = () => {
    const env = { ...process.env, PATH: `${resolve("node_modules/.bin")}:${process.env.PATH}` };
    const { status, stderr } = spawnSync(process.execPath, ["build.ts"], {
      cwd: folder,
      encoding: "utf8",
      env,
    });
    return { status, stderr };
  };
  const edit = (file: string, change: (text: string) => string) => {
    const path = join(folder, file);
    const text = readFileSync(path, "utf8");
    const changed = change(text);
    expect(changed).not.toBe(text);
    writeFileSync(path, changed);
  };

  test("fails when package.json exports what has no source, or the types of another module", () => {
    edit("package.json", (text) =>
      text
        .replaceAll("./dist/adapters/hono.", "./dist/adapters/hoho.")
        .replace("./dist/adapters/middy.d.ts", "./dist/adapters/fetch.d.ts")
        .replace("./dist/adapters/lambda.cjs", "./dist/adapters/middy.cjs"),
    );
    const { status, stderr } = build();
    expect(status).not.toBe(0);
    expect(stderr).toContain("package.json and src disagree:");
    expect(stderr).toContain("./hono is ./dist/adapters/hoho.js, and there is no source of it");
    expect(stderr).toContain(
      "./middy has the types of ./dist/adapters/fetch.d.ts, and the code of ./dist/adapters/middy.js",
    );
    expect(stderr).toContain(
      "./lambda is ./dist/adapters/lambda.js to import, and ./dist/adapters/middy.cjs to require",
    );
  });

  test("fails when a module is in no entry", () => {
    writeFileSync(join(folder, "src/adapters/express.ts"), "export const express = () => 1;\n");
    const { status, stderr } = build();
    expect(status).not.toBe(0);
    expect(stderr).toMatch(
      /in no entry; is one missing in the exports of package.json\?\n {2}src.adapters.express\.ts/,
    );
  });

  test("fails when an entry uses of the core what src/core.ts does not name", () => {
    edit("src/core.ts", (text) => text.replace(/\bshow\b/, "show as shown"));
    const { status, stderr } = build();
    expect(status).not.toBe(0);
    expect(stderr).toContain('No matching export in "dist/core.js" for import "show"');
    expect(stderr).toContain("src/core.ts does not export all that other entries use of the core.");
  });

  test("keeps the names of what an entry gives, whatever the core calls its own", () => {
    edit(
      "src/testing/index.ts",
      (text) => `${text}\nexport const found = { holder: 1, lease: 2, since: 3, reply: 4 };\n`,
    );
    expect(build()).toMatchObject({ status: 0 });
    expect(readFileSync(join(folder, "dist/testing/index.js"), "utf8")).toMatch(
      /holder: 1,\s*lease: 2,\s*since: 3,\s*reply: 4/,
    );
  });
});
