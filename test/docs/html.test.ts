import { expect, test } from "vitest";
import { pages, withoutCode } from "./pages.ts";

// The site's home page has the playground.
const texts = pages.filter(({ file }) => file !== "docs/index.md");

test("no page has HTML of its own: GitHub hides it, and the site takes it for a component", () => {
  const html = texts.map(({ file, text }) => ({
    file,
    tags: withoutCode(text).match(/<\/?[a-z][^>\n]*>?/gi),
  }));
  expect(html.filter(({ tags }) => tags)).toEqual([]);
});

test("no line begins with a tag, in code that goes over two lines either: the site ends the code there", () => {
  const lines = texts.flatMap(({ file, text }) =>
    text
      .replace(/^```[\s\S]*?^```$/gm, "")
      .split("\n")
      .filter((line) => /^\s*<\/?[a-z]/i.test(line))
      .map((line) => `${file}: ${line}`),
  );
  expect(lines).toEqual([]);
});
