// Builds dist/: compiled by tsc, then each module that users import at run time put into one file with what it
// needs, for an import costs some 0.6 ms a file (measured by bench/import.ts). What they share stays shared.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { build } from "esbuild";

rmSync("dist", { recursive: true, force: true });
execFileSync("tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
await build({
  entryPoints: [
    "dist/index.js",
    ...["middy", "lambda", "fetch", "cloudflare", "hono", "schedule"].map(
      (name) => `dist/adapters/${name}.js`,
    ),
    "dist/testing.js",
  ],
  outbase: "dist",
  outdir: "dist",
  allowOverwrite: true,
  bundle: true,
  splitting: true,
  format: "esm",
  // Names stay, for stack traces.
  minifyWhitespace: true,
  platform: "node",
  target: "es2023",
  logLevel: "warning",
});
