// Builds dist/: compiled by tsc, then each module that users import at run time put into one file with what it
// needs, for an import costs some 0.6 ms a file (measured by bench/import.ts). What they share stays shared.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { build, type Plugin } from "esbuild";
import luamin from "luamin";

/**
 * Properties of objects that no user sees, which get a letter or two in dist/: a bundler shortens variables by itself,
 * and leaves properties alone. Never a name of the public API, an option, an event or a platform's object, nor one by
 * which an adapter reaches the core, which may be another version of it.
 */
const internal = `asker background connection contended exact fits foreign holder lacks later lease lifetime listen
  repeated resendsAfter runtime since sinceNow sinceSent standing stay stragglers ticket uuid`;

/** Lua goes over the wire with each request that runs it, and no bundler makes it smaller. */
const smallLua: Plugin = {
  name: "small Lua",
  setup({ onLoad }) {
    onLoad({ filter: /protocol.(extend|join|release)\.js$/ }, async ({ path }) => {
      const scripts: Record<string, string> = await import(path);
      const code = readFileSync(path, "utf8");
      const contents = code.replace(
        /(\w+Script) = `[^`]*`/,
        (_, name: string) => `${name} = ${JSON.stringify(luamin.minify(scripts[name] as string))}`,
      );
      if (contents === code) throw new Error(`There is no Lua in ${path}`);
      return { contents };
    });
  },
};

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
  mangleProps: new RegExp(`^(${internal.split(/\s+/).join("|")})$`),
  plugins: [smallLua],
  platform: "node",
  target: "es2023",
  logLevel: "warning",
});
