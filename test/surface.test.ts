import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };

// A change of what users can write or read is a change of test/surface.d.txt: `npx vitest run test/surface.test.ts -u`.

test("the package's declarations are those that were agreed on", async () => {
  const files = globSync("dist/**/*.d.ts").sort();
  const surface = files.map((file) => `// ${file}\n${withoutComments(readFileSync(file, "utf8"))}`);
  await expect(`${surface.join("\n")}\n`).toMatchFileSnapshot("surface.d.txt");
});

test("the package's entries are those that were agreed on", () => {
  expect(Object.keys(manifest.exports)).toMatchInlineSnapshot(`
    [
      ".",
      "./middy",
      "./lambda",
      "./fetch",
      "./cloudflare",
      "./hono",
      "./schedule",
      "./admin",
      "./otel",
      "./emf",
      "./page",
      "./idempotency",
      "./single-flight",
      "./fence",
      "./web-locks",
      "./dev",
      "./testing",
      "./package.json",
    ]
  `);
});

function withoutComments(code: string): string {
  return code
    .replace(/\/\*\*[\s\S]*?\*\//g, "")
    .split("\n")
    .filter((line) => line.trim() && !line.trim().startsWith("//"))
    .join("\n");
}
