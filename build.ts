// Builds dist/: the declarations by tsc; by esbuild each entry of package.json in one file, and what all of them share,
// the core, in another, for an import costs some 0.8 ms a file (measured by bench/import.ts).
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { type BuildOptions, build, type Plugin, transformSync } from "esbuild";
import luamin from "luamin";
import manifest from "./package.json" with { type: "json" };

const core = resolve("src/core.ts");

/** Lua goes over the wire with each request that runs it, and no bundler makes it smaller. */
const smallLua: Plugin = {
  name: "small Lua",
  setup({ onLoad }) {
    onLoad({ filter: /src.(protocol|admin).\w+\.ts$/ }, async ({ path }) => {
      const modules: Record<string, () => string> = await import(path);
      const contents = readFileSync(path, "utf8")
        .replace(
          /^export const (\w+Script) = \(\) => lua`[^`]*`/gm,
          (_, name) =>
            `export const ${name} = () => ${JSON.stringify(luamin.minify(modules[name]?.() ?? ""))}`,
        )
        // The parts of a script are in it.
        .replace(/^((?:export )?const \w+Lua) = lua`[^`]*`/gm, '$1 = ""');
      // An entry's script needs nothing of the core any more.
      const parts = /^import \{ (lua|\w+Lua) \} from .*$/gm;
      const used = /src.protocol/.test(path) ? contents : contents.replace(parts, "");
      return { contents: used, loader: "ts" };
    });
  },
};

/** The command line's parser is in its file: nobody has to install it. */
const parserInside: Plugin = {
  name: "parser inside",
  setup({ onResolve }) {
    onResolve({ filter: /^commander$/ }, () => ({ path: resolve("node_modules/commander/index.js") }));
  },
};

/** What a CommonJS module in an ESM file needs, and the parser's license. */
const requireInside = {
  js: `/*! With commander:\n${readFileSync("node_modules/commander/LICENSE", "utf8")}*/
import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`,
};

const options = {
  bundle: true,
  format: "esm",
  packages: "external",
  platform: "node",
  target: "es2023",
  sourcemap: true,
  logLevel: "warning",
  metafile: true,
} satisfies BuildOptions;

const entries = entriesOf(manifest);
rmSync("dist", { recursive: true, force: true });
execFileSync("tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
const shared = await build({ ...options, ...inAndOut(core), plugins: [smallLua] });
const inCore = new Set(Object.keys(shared.metafile.inputs).map((file) => resolve(file)));
const built = await Promise.all(
  entries.map((entry) =>
    build({
      ...options,
      ...inAndOut(entry),
      ...(entry === "src/cli.ts" ? { banner: requireInside } : {}),
      plugins: [parserInside, othersOutside(entry), smallLua],
    }),
  ),
);
await refuseUnknownNames();
refuseUnused([shared, ...built].flatMap(({ metafile }) => Object.keys(metafile.inputs)));

function inAndOut(source: string) {
  return { entryPoints: [source], outfile: outputOf(source) };
}

/** `dist/adapters/middy.js` for `src/adapters/middy.ts`. */
function outputOf(source: string): string {
  return resolve("dist", relative("src", source)).replace(/\.ts$/, ".js");
}

/**
 * The sources of what package.json exports and runs.
 *
 * @throws an Error that names each of them that has no source, or whose types and code are of two modules.
 */
function entriesOf({ exports, bin }: Pick<typeof manifest, "exports" | "bin">): string[] {
  const wrong: string[] = [];
  const sourceOf = (name: string, file: string) => {
    const source = file.replace(/^(?:\.\/)?dist\/(.*)\.js$/, "src/$1.ts");
    if (!existsSync(source) || source === file)
      wrong.push(`${name} is ${file}, and there is no source of it`);
    return source;
  };
  const exported = Object.entries(exports).flatMap(([name, target]) => {
    if (typeof target === "string") return [];
    if (target.types !== target.default.replace(/\.js$/, ".d.ts")) {
      wrong.push(`${name} has the types of ${target.types}, and the code of ${target.default}`);
    }
    return [sourceOf(name, target.default)];
  });
  const run = Object.entries(bin).map(([name, file]) => sourceOf(name, file));
  if (wrong.length > 0) throw new Error(`package.json and src disagree:\n  ${wrong.join("\n  ")}`);
  return [...exported, ...run];
}

/** Leaves to their own files what an entry imports of the core and of other entries. */
function othersOutside(entry: string): Plugin {
  const pathTo = (source: string) => {
    const path = relative(dirname(outputOf(entry)), outputOf(source));
    return path.startsWith(".") ? path : `./${path}`;
  };
  return {
    name: "others outside",
    setup({ onResolve }) {
      onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
        if (kind === "entry-point") return undefined;
        const file = resolve(resolveDir, path);
        const other = inCore.has(file) ? core : entries.includes(relative(".", file)) && file;
        return other ? { path: pathTo(other), external: true } : undefined;
      });
    },
  };
}

/** @throws an Error after esbuild has shown each import of a name that src/core.ts does not export. */
async function refuseUnknownNames(): Promise<void> {
  const { bundle, format, packages, platform } = options;
  const entryPoints = entries.map(outputOf);
  await build({ bundle, format, packages, platform, entryPoints, outdir: "dist", write: false }).catch(() => {
    throw new Error("src/core.ts does not export all that other entries use of the core.");
  });
}

/** @throws an Error that names each module with code that is part of no entry. */
function refuseUnused(inputs: string[]): void {
  const used = new Set(inputs.map((file) => resolve(file)));
  const unused = globSync("src/**/*.ts").filter((file) => !used.has(resolve(file)) && hasCode(file));
  if (unused.length > 0) {
    throw new Error(
      `These modules are in no entry; is one missing in the exports of package.json?\n  ${unused.join("\n  ")}`,
    );
  }
}

/** Whether anything is left of a module without its types. */
function hasCode(file: string): boolean {
  const { code } = transformSync(readFileSync(file, "utf8"), { loader: "ts" });
  return !/^\s*(export \{\s*\};?)?\s*$/.test(code);
}
