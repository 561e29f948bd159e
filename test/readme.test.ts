import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { milliseconds } from "../src/options/durations.ts";
import { defaults } from "../src/options/lock-options.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** The rows of the table under a heading: its cells, the code in the first two without its quotes. */
function rows(heading: string): string[][] {
  const section = readme.split(`### ${heading}\n`)[1]?.split("\n#")[0] ?? "";
  return [...section.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)].map(([, name = "", fallback = ""]) => [
    name,
    fallback,
  ]);
}

test("the README's table of options names each, with its default", () => {
  const table = new Map(rows("Options").map(([name, fallback]) => [name, fallback as string]));
  expect([...table.keys()].sort()).toEqual(Object.keys(defaults).sort());
  for (const [name, value] of Object.entries(defaults)) {
    const stated = table.get(name) as string;
    if (value === undefined) expect(stated, name).not.toMatch(/^`"/);
    else {
      const text = stated.replace(/^`"?|"?`$/g, "");
      expect(typeof value === "number" ? milliseconds(Number(text) || text) || 0 : text, name).toBe(
        typeof value === "number" ? value : String(value),
      );
    }
  }
});

test("the README shows the two commands that do all the set-up", () => {
  expect(readme).toContain("npm ci && npm start");
  expect(readme).toContain("npm ci && npm test");
});
