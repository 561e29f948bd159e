import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bundle } from "../../bench/lib/bundle.ts";

const limit = 500;
const page = readFileSync(new URL("../../docs/fencing.md", import.meta.url), "utf8");

test.each(["postgresFence", "dynamoFence", "redisFence", "fencedSet"])(
  "%s imports nothing, and takes the half kB that its page states, for all else is left out of a bundle",
  async (name) => {
    const { gzipped, inputs } = await bundle(`export { ${name} } from "./dist/fence/index.js";`);
    expect(gzipped).toBeLessThanOrEqual(limit);
    expect(inputs.filter(([file]) => !file.startsWith("dist/fence/") && file !== "<stdin>")).toEqual([]);
    expect(page).toContain("at most 0.5 kB");
  },
);
