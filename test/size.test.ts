import { existsSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import {
  measureSizes,
  type Part,
  reached,
  type Sizes,
  wanted,
  withFigures,
  wrongFigures,
} from "../bench/lib/sizes.ts";

const readme = new URL("../README.md", import.meta.url);
const parts = Object.keys(wanted) as Part[];

describe("the size of the package, minified and gzipped", () => {
  let sizes: Sizes;

  beforeAll(async () => {
    sizes = await measureSizes();
  });

  test.each(parts)("%s is no larger than it was (bench/size.ts says what is wanted)", (part) => {
    expect(sizes.bytes[part], `bytes of ${part}`).toBeLessThanOrEqual(reached[part]);
  });

  test("nothing of another package is in it", () => {
    const files = sizes.source.inputs.map(([file]) => file);
    expect(files.filter((file) => !file.startsWith("src/"))).toEqual([]);
  });

  test("the README states it (node bench/size.ts --write-readme puts it there)", () => {
    expect(existsSync(readme), "there is no README.md").toBe(true);
    expect(wrongFigures(readFileSync(readme, "utf8"), sizes.bytes)).toEqual([]);
  });
});

describe("the README's figures", () => {
  const bytes = { core: 5_937, middy: 1_210 } as Sizes["bytes"];
  const right =
    "A core of <!-- size:core -->5.9 kB<!-- /size -->, middy <!-- size:middy -->1.2 kB<!-- /size --> more.";

  test("are right as rounded", () => {
    expect(wrongFigures(right, bytes)).toEqual([]);
  });

  test.each(["5.8 kB", "6.0 kB", "5.9", "about 5.9 kB", ""])("are wrong as %j", (figure) => {
    expect(wrongFigures(right.replace("5.9 kB", figure), bytes)).toEqual([
      expect.stringMatching(/^README.md says that core has .*, and it has 5\.9 kB \(5937 bytes\)$/),
    ]);
  });

  test("are missed when their markers are missing", () => {
    expect(wrongFigures("Small.", bytes)).toEqual([
      expect.stringContaining("states no size of core"),
      expect.stringContaining("states no size of middy"),
    ]);
  });

  test("are wrong for a part that there is not", () => {
    const text = `${right} <!-- size:cores -->1.0 kB<!-- /size -->`;
    expect(wrongFigures(text, bytes)).toEqual([expect.stringContaining("no such part")]);
  });

  test("are filled in between the markers, each of them, and nothing else is changed", () => {
    const stale = `${right} Again: <!-- size:core --><!-- /size -->. A 9.9 kB of another kind.`.replace(
      "1.2 kB",
      "7 kB",
    );
    const filled = withFigures(stale, bytes);
    expect(filled).toBe(`${right} Again: <!-- size:core -->5.9 kB<!-- /size -->. A 9.9 kB of another kind.`);
  });
});
