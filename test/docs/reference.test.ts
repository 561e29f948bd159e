import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { pages } from "../../site/reference.ts";
import { milliseconds } from "../../src/options/durations.ts";
import { defaults } from "../../src/options/lock-options.ts";

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");

test.each(pages())("$file is what the source says (node site/reference.ts --write)", ({ file, text }) => {
  expect(read(file)).toBe(text);
});

test("the table of options names each, with the default that it has", () => {
  const [section = ""] = read("docs/options.md").split("<!-- /made -->");
  const rows = [...section.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)];
  const table = new Map(rows.map(([, name = "", fallback = ""]) => [name, fallback]));
  expect([...table.keys()].sort()).toEqual(Object.keys(defaults).sort());
  for (const [name, value] of Object.entries(defaults)) {
    const stated = (table.get(name) as string).replace(/^`"?|"?`$/g, "");
    // Of `renew` the text says where which default holds.
    if (value === undefined) expect(stated, name).toMatch(/^none$|^true` in /);
    else if (typeof value === "number") expect(milliseconds(stated) || Number(stated), name).toBe(value);
    else expect(stated, name).toBe(String(value));
  }
});

test("the table of errors has what each of them has", () => {
  const table = read("docs/errors.md");
  for (const [name, own] of [
    ["LockBusyError", "`owner`, `retryAfter`, `waited`, `place`"],
    ["LockLostError", ""],
    ["LockUnavailableError", ""],
    ["LockOptionError", "`option`"],
  ])
    expect(table).toMatch(new RegExp(`^\\| \`${name}\` \\| \`LOCK_\\w+\` \\| .*\\| ${own} \\|$`, "m"));
});
