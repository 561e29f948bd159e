import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", "./test/helpers/reporter.ts"],
    // Long enough for a loaded machine: no test measures time by it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
