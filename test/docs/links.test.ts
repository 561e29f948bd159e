import { existsSync, statSync } from "node:fs";
import { posix } from "node:path";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { anchors, type Page, pages, withoutCode } from "./pages.ts";

const root = new URL("../../", import.meta.url);

interface Link {
  from: string;
  to: string;
  anchor: string;
}

const links = pages.flatMap(linksOf);

test("every link of README and docs leads to a file of the repository, and to a heading of it", () => {
  const dead = links.filter(({ to, anchor }) => {
    if (!existsSync(new URL(to, root)) || statSync(new URL(to, root)).isDirectory()) return true;
    const page = pages.find(({ file }) => file === to);
    return anchor !== "" && !(page && anchors(page.text).has(anchor));
  });
  expect(dead).toEqual([]);
});

test("what they lead to is in the package, for those who read it there", () => {
  const shipped = (file: string) =>
    ["README.md", "LICENSE", "package.json"].includes(file) ||
    (manifest.files.some((pattern) => posix.matchesGlob(file, pattern)) &&
      !manifest.files.some(
        (pattern) => pattern.startsWith("!") && posix.matchesGlob(file, pattern.slice(1)),
      ));
  // As a file of the sources that is not shipped: name it as code, without a link.
  expect(links.filter(({ to }) => !shipped(to))).toEqual([]);
});

test("links to elsewhere are whole and use https", () => {
  const elsewhere = pages.flatMap(({ text }) => targets(text)).filter((target) => /^\w+:/.test(target));
  expect(elsewhere.filter((target) => !target.startsWith("https://") || !URL.canParse(target))).toEqual([]);
});

test("every page is reached from the README or from another page", () => {
  const reached = new Set(links.filter(({ from, to }) => from !== to).map(({ to }) => to));
  // The site's own home page, and the figures behind others.
  const own = ["README.md", "docs/index.md"];
  expect(pages.map(({ file }) => file).filter((file) => !own.includes(file) && !reached.has(file))).toEqual(
    [],
  );
});

function linksOf({ file, text }: Page): Link[] {
  return targets(text)
    .filter((target) => !/^\w+:/.test(target))
    .map((target) => {
      const [path = "", anchor = ""] = target.split("#");
      const to = path ? posix.join(posix.dirname(file), path) : file;
      return { from: file, to, anchor };
    });
}

function targets(text: string): string[] {
  return [...withoutCode(text).matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = ""]) => target);
}
