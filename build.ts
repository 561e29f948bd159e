// Builds dist/: compiled by tsc, then each module that users import at run time put into one file, and what all share,
// the core, into another, for an import costs some 0.8 ms a file (measured by bench/import.ts).
import { execFileSync } from "node:child_process";
import { globSync, readFileSync, rmSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";
import luamin from "luamin";

const dist = resolve("dist");
/** The folders whose modules are no part of the core. */
const outside = ["adapters", "dev", "testing"].map((folder) => resolve(dist, folder));

/**
 * Properties of objects that no user sees, which get a letter or two in dist/: a bundler shortens variables by itself,
 * and leaves properties alone. Never a name of the public API, an option, an event or a platform's object, nor one by
 * which an adapter reaches the core, which may be another version of it.
 */
const internal = `ask asker awaitsRelease background connection contended exact fits foreign groupOf holder lacks lanes
  later lease lifetime listen repeated reply resendsAfter runtime since sinceNow sinceSent standing stay stragglers
  ticket uuid`;

/** Lua goes over the wire with each request that runs it, and no bundler makes it smaller. */
const smallLua: Plugin = {
  name: "small Lua",
  setup({ onLoad }) {
    onLoad({ filter: /protocol.(dequeue|extend|join|release)\.js$/ }, async ({ path }) => {
      const scripts: Record<string, string> = await import(path);
      const code = readFileSync(path, "utf8");
      const contents = code.replace(
        /(\w+Script) = lua `[^`]*`/,
        (_, name: string) => `${name} = ${JSON.stringify(luamin.minify(scripts[name] as string))}`,
      );
      if (contents === code) throw new Error(`There is no Lua in ${path}`);
      return { contents };
    });
  },
};

/** Modules of the core of which an entry uses something. */
const reached = new Set<string>();

const coreOutside: Plugin = {
  name: "core outside",
  setup({ onResolve }) {
    onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
      const file = resolve(resolveDir, path);
      if (kind === "entry-point" || outside.includes(dirname(file))) return undefined;
      reached.add(file);
      return { path: `${relative(resolveDir, dist) || "."}/core.js`, external: true };
    });
  },
};

const options = {
  allowOverwrite: true,
  bundle: true,
  format: "esm",
  packages: "external",
  // Names stay, for stack traces.
  minifyWhitespace: true,
  platform: "node",
  target: "es2023",
  logLevel: "warning",
  metafile: true,
} satisfies BuildOptions;
const mangleProps = new RegExp(`^(${internal.split(/\s+/).join("|")})$`);

rmSync(dist, { recursive: true, force: true });
execFileSync("tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
const entries = await build({
  ...options,
  entryPoints: [
    "dist/index.js",
    ...["middy", "lambda", "fetch", "cloudflare", "hono", "schedule"].map(
      (name) => `dist/adapters/${name}.js`,
    ),
    "dist/testing/index.js",
  ],
  outdir: dist,
  plugins: [coreOutside],
  mangleProps,
  mangleCache: {},
});
// Among what it uses of Node are names that are shortened elsewhere.
const dev = await build({
  ...options,
  entryPoints: ["dist/dev/index.js", "dist/cli.js"],
  outdir: dist,
  splitting: true,
  chunkNames: "dev/[name]-[hash]",
  plugins: [coreOutside],
});
const core = await build({
  ...options,
  stdin: { contents: [...reached].map((file) => `export * from "${file}";`).join(""), resolveDir: dist },
  outfile: "dist/core.js",
  plugins: [smallLua],
  mangleProps,
  mangleCache: entries.mangleCache as Record<string, string>,
});
const built = [entries, dev, core].flatMap(({ metafile }) => Object.keys(metafile.outputs));
for (const file of globSync("dist/**/*.js")) if (!built.includes(file)) rmSync(file);
