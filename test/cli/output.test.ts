import { expect, test } from "vitest";
import { cutLine, table } from "../../src/cli/output.ts";

test.each([
  ["order:42  held", 80, "order:42  held"],
  ["order:42  held", 8, "order:42"],
  [
    "\u001b[1morder:42\u001b[22m  \u001b[33mheld\u001b[39m",
    9,
    "\u001b[1morder:42\u001b[22m \u001b[33m\u001b[39m",
  ],
  ["錠錠錠", 5, "錠錠"],
  ["🛒🛒", 3, "🛒"],
])("a line is cut to what a terminal shows without breaking it: %j", (line, columns, cut) => {
  expect(cutLine(line, columns)).toBe(cut);
});

test("columns stand below each other, also with characters that take two", () => {
  expect(
    table([
      ["KEY", "STATE"],
      ["錠🛒", "held"],
      ["order", "free"],
    ]),
  ).toEqual(["KEY    STATE", "錠🛒   held", "order  free"]);
});

test("a long key moves its own row alone", () => {
  const long = "k".repeat(1024);
  const lines = table([
    ["KEY", "STATE"],
    [long, "held"],
    ["order", "free"],
  ]);
  expect(lines).toEqual([`KEY${" ".repeat(39)}STATE`, `${long}  held`, `order${" ".repeat(37)}free`]);
});
