import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };

// The built declarations, in a project outside of this one that has nothing installed but the package.

const folder = mkdtempSync(join(tmpdir(), "serverless-lock-types-"));
const modules = join(folder, "node_modules");
const tsc = resolve("node_modules/.bin/tsc");

const entries = Object.entries(manifest.exports)
  .filter(([, target]) => typeof target === "object")
  .map(([name]) => name.replace(/^\./, manifest.name));
/** Those whose types need nobody else's: Hono's and OpenTelemetry's are made of theirs. */
const alone = entries.filter((name) => !/\/(hono|otel)$/.test(name));

beforeAll(() => {
  mkdirSync(join(modules, manifest.name), { recursive: true });
  cpSync("dist", join(modules, manifest.name, "dist"), { recursive: true });
  cpSync("package.json", join(modules, manifest.name, "package.json"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
});

afterAll(() => rmSync(folder, { recursive: true }));

interface Project {
  lib: string[];
  module?: "nodenext" | "esnext";
  types?: string[];
}

/** What tsc says of a file in such a project, whose declarations it checks too. */
function compile(code: string, { lib, module = "nodenext", types = [] }: Project): string {
  const compilerOptions = {
    ...{ strict: true, noEmit: true, skipLibCheck: false, exactOptionalPropertyTypes: true },
    ...{ target: "es2022", module, moduleResolution: module === "esnext" ? "bundler" : module, lib, types },
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["a.ts"] }));
  writeFileSync(join(folder, "a.ts"), code);
  return spawnSync(tsc, ["-p", folder], { encoding: "utf8" }).stdout;
}

const importOf = (names: string[]) =>
  names.map((name, i) => `import * as entry${i} from "${name}"; export { entry${i} };`).join("\n");

describe("the declarations compile, checked themselves,", () => {
  test.each<Project>([
    { lib: ["ES2023"] },
    { lib: ["ES2023"], module: "esnext" },
    { lib: ["ES2023", "DOM"] },
    { lib: ["ES2023", "DOM"], module: "esnext" },
    { lib: ["ES2022", "DOM"] },
    { lib: ["ES2024", "WebWorker"], module: "esnext" },
    { lib: ["ES2023", "ESNext.Disposable", "DOM", "DOM.Iterable"] },
  ])("with %o and no @types/node", (project) => {
    expect(compile(importOf(alone), project)).toBe("");
  });

  describe("with what else a project may have", () => {
    const link = (name: string) => symlinkSync(resolve("node_modules", name), join(modules, name));
    beforeAll(() => {
      mkdirSync(join(modules, "@types"));
      mkdirSync(join(modules, "@opentelemetry"));
      for (const name of ["hono", "@opentelemetry/api", "@types/node", "undici-types"]) link(name);
    });

    test.each<Project>([
      { lib: ["ES2023"], types: ["node"] },
      { lib: ["ES2023", "DOM"], types: ["node"], module: "esnext" },
    ])("%o", (project) => {
      expect(compile(importOf(alone), project)).toBe("");
    });

    test("Hono and OpenTelemetry, whose types are of the web", () => {
      expect(compile(importOf(entries), { lib: ["ES2023", "DOM", "DOM.Iterable"] })).toBe("");
    });
  });
});

describe("await using", () => {
  const code = `import { createLocker } from "serverless-lock";
    const locker = createLocker();
    export async function work(): Promise<string> {
      await using lock = await locker.acquire("key");
      const { signal }: { signal: AbortSignal } = lock;
      return signal.aborted ? lock.key : lock.token;
    }`;

  test("takes a lock, where the project knows it", () => {
    expect(compile(code, { lib: ["ES2023", "ESNext.Disposable", "DOM"] })).toBe("");
  });

  test("takes nothing else", () => {
    const other = code.replace('await locker.acquire("key")', "locker");
    expect(compile(other, { lib: ["ES2023", "ESNext.Disposable", "DOM"] })).toContain("TS285");
  });
});
