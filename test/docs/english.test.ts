import { expect, test } from "vitest";
import { pages, withoutCode } from "./pages.ts";

/** The sentences of a page's paragraphs and lists, each as its words. */
function sentences(text: string): string[][] {
  const prose = withoutCode(text)
    .replace(/^---\n[\s\S]*?\n---$/m, "")
    .replace(/^(#|\||!\[).*$/gm, "\n\n")
    .replace(/^\s*(- |\d+\. )/gm, "\n\n")
    .replace(/\]\([^)]*\)/g, "]");
  return prose
    .split(/\n\s*\n|(?<=[.?!:;])\s/)
    .map((sentence) => sentence.match(/[\p{Letter}\d][\p{Letter}\d'.,-]*/gu) ?? [])
    .filter((words) => words.length > 0);
}

test("sentences have at most 25 words, in the median page all of them", () => {
  const longest = pages
    .filter(({ file }) => !file.startsWith("docs/bench/"))
    .map(({ file, text }) => ({ file, words: Math.max(...sentences(text).map(({ length }) => length)) }))
    .sort((a, b) => a.words - b.words);
  const median = longest[Math.floor(longest.length / 2)];
  expect(median?.words, JSON.stringify(longest)).toBeLessThanOrEqual(25);
});
