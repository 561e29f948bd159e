import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig, type Plugin } from "vitest/config";

const folder = (name: string) => fileURLToPath(new URL(`${name}/`, import.meta.url));

/** Gives tests the package as `npm run build` left it, where they ask for its source: build.ts makes one file of many, and the Lua small. */
const asBuilt: Plugin = {
  name: "as built",
  enforce: "pre",
  async resolveId(source, importer) {
    const resolved = await this.resolve(source, importer, { skipSelf: true });
    const [, module] = resolved?.id.match(/\/src\/(index|testing\/index)\.ts$/) ?? [];
    return module && resolved?.id.startsWith(folder("src")) ? `${folder("dist")}${module}.js` : resolved;
  },
};

export default defineConfig({
  test: {
    reporters: ["default", "./test/helpers/reporter.ts"],
    // Long enough for a loaded machine: no test measures time by it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "source",
          include: ["test/**/*.test.ts"],
          // The contract is that of the package.
          exclude: [
            ...configDefaults.exclude,
            "test/contract/{lock,kinds}.test.ts",
            // They compare with a newer Redis than most machines have: `npm run engines` brings one.
            ...(process.env.NEWER_ENGINES ? [] : ["test/dev/{conditions,embedded-trim}.test.ts"]),
          ],
        },
      },
      {
        extends: true,
        plugins: [asBuilt],
        test: { name: "as built", include: ["test/{contract/*,waiting/queue,testing}.test.ts"] },
      },
    ],
  },
});
