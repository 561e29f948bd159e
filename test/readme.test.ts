import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { withoutCode } from "./docs/pages.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

test("the README shows the two commands that do all the set-up", () => {
  expect(readme).toContain("npm ci && npm start");
  expect(readme).toContain("npm ci && npm test");
});

test("the README has at most 200 lines, and is read aloud in three minutes", () => {
  expect(readme.split("\n").length).toBeLessThanOrEqual(200);
  // 150 words a minute. Nobody reads out tables and code.
  const prose = withoutCode(readme)
    .replace(/^\|.*$/gm, "")
    .replace(/\]\([^)]*\)/g, "]");
  expect(prose.match(/[\p{Letter}\d]+/gu)?.length).toBeLessThanOrEqual(3 * 150);
});
