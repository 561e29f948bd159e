// Builds dist/: the declarations by tsc; by esbuild each entry of package.json in one file, and what all of them share,
// the core, in another, for an import costs some 0.8 ms a file (measured by bench/import.ts). All of it twice: as ES
// modules, and as CommonJS for those who require.
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { type BuildOptions, build, type Plugin, transformSync } from "esbuild";
import luamin from "luamin";
import manifest from "./package.json" with { type: "json" };

const core = resolve("src/core.ts");

/** Lua goes over the wire with each request that runs it, and no bundler makes it smaller. */
const smallLua: Plugin = {
  name: "small Lua",
  setup({ onLoad }) {
    onLoad({ filter: /src.(protocol|admin|web-locks).\w+\.ts$/ }, async ({ path }) => {
      const modules: Record<string, () => string> = await import(path);
      const contents = readFileSync(path, "utf8")
        .replace(
          /^export const (\w+Script) = \(\) => lua`[^`]*`/gm,
          (_, name) =>
            `export const ${name} = () => ${JSON.stringify(luamin.minify(modules[name]?.() ?? ""))}`,
        )
        // The parts of a script are in it.
        .replace(/^((?:export )?const \w+Lua) = lua`[^`]*`/gm, '$1 = ""');
      if (/src.protocol/.test(path)) return { contents, loader: "ts" };
      // An entry's script needs nothing of the core any more.
      const imports = /^import \{ ([\w, ]+) \} from .*$/gm;
      const rest = contents.replace(imports, "");
      const isUsed = (name: string) => new RegExp(`\\b${name}\\b`).test(rest);
      const used = contents.replace(imports, (line, names) => (names.split(", ").some(isUsed) ? line : ""));
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
  packages: "external",
  platform: "node",
  target: "es2023",
  sourcemap: true,
  logLevel: "warning",
  metafile: true,
} satisfies BuildOptions;

/** A module system of Node's, and how its files end. */
const systems = [
  { format: "esm", js: "js", declarations: "d.ts" },
  { format: "cjs", js: "cjs", declarations: "d.cts" },
] as const;
type System = (typeof systems)[number];

const { exported, run } = entriesOf(manifest);
rmSync("dist", { recursive: true, force: true });
execFileSync("tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
declare();
const inputs = new Set<string>();
for (const system of systems) await buildFor(system);
await refuseUnknownNames();
refuseUnused();

async function buildFor(system: System): Promise<void> {
  const { format } = system;
  const shared = await build({ ...options, ...inAndOut(core, system), format, plugins: [smallLua] });
  const inCore = new Set(Object.keys(shared.metafile.inputs).map((file) => resolve(file)));
  // What is run needs no other system.
  const entries = format === "esm" ? [...exported, ...run] : exported;
  const built = await Promise.all(
    entries.map((entry) => {
      const plugins = [parserInside, othersOutside(entry, system, inCore), smallLua];
      const banner = entry === "src/cli.ts" ? { banner: requireInside } : {};
      return build({ ...options, ...banner, ...inAndOut(entry, system), format, plugins });
    }),
  );
  for (const { metafile } of [shared, ...built])
    for (const file of Object.keys(metafile.inputs)) inputs.add(resolve(file));
}

function inAndOut(source: string, system: System) {
  return { entryPoints: [source], outfile: outputOf(source, system) };
}

/** `dist/adapters/middy.js` for `src/adapters/middy.ts`. */
function outputOf(source: string, { js }: System): string {
  return resolve("dist", relative("src", source)).replace(/ts$/, js);
}

/** Writes each declaration that an entry needs once for each module system, and removes what tsc made beside them. */
function declare(): void {
  const needed = new Set(exported.map((source) => resolve("dist", relative("src", source))));
  for (const file of needed) {
    const declaration = file.replace(/ts$/, "d.ts");
    const text = readFileSync(declaration, "utf8");
    for (const { js, declarations } of systems) {
      const written = text.replace(
        /(?<=\b(?:from |import\())"(\.[^"]*)\.ts"/g,
        (_, path) => `"${path}.${js}"`,
      );
      writeFileSync(file.replace(/ts$/, declarations), written);
    }
    for (const [, path] of text.matchAll(/\b(?:from |import\()"(\.[^"]*\.ts)"/g))
      needed.add(resolve(dirname(file), path as string));
  }
  for (const file of globSync("dist/**/*.d.ts"))
    if (!needed.has(resolve(file.replace(/d\.ts$/, "ts"))) && file !== "dist/globals.d.ts") rmSync(file);
}

/**
 * The sources of what package.json exports and runs.
 *
 * @throws an Error that names each of them that has no source, or whose types and code are of two modules.
 */
function entriesOf({ exports, bin }: Pick<typeof manifest, "exports" | "bin">) {
  const wrong: string[] = [];
  const sourceOf = (name: string, file: string) => {
    const source = file.replace(/^(?:\.\/)?dist\/(.*)\.js$/, "src/$1.ts");
    if (!existsSync(source) || source === file)
      wrong.push(`${name} is ${file}, and there is no source of it`);
    return source;
  };
  const exported = Object.entries(exports).flatMap(([name, target]) => {
    if (typeof target === "string") return [];
    const esm = target.import.default;
    for (const [condition, { js, declarations }] of [
      ["import", systems[0]],
      ["require", systems[1]],
    ] as const) {
      const { types, default: code } = target[condition];
      if (code !== esm.replace(/js$/, js)) wrong.push(`${name} is ${esm} to import, and ${code} to require`);
      if (types !== code.replace(/c?js$/, declarations))
        wrong.push(`${name} has the types of ${types}, and the code of ${code}`);
    }
    return [sourceOf(name, esm)];
  });
  const run = Object.entries(bin).map(([name, file]) => sourceOf(name, file));
  if (wrong.length > 0) throw new Error(`package.json and src disagree:\n  ${wrong.join("\n  ")}`);
  return { exported, run };
}

/** Leaves to their own files what an entry imports of the core and of other entries. */
function othersOutside(entry: string, system: System, inCore: Set<string>): Plugin {
  const pathTo = (source: string) => {
    const path = relative(dirname(outputOf(entry, system)), outputOf(source, system));
    return path.startsWith(".") ? path : `./${path}`;
  };
  return {
    name: "others outside",
    setup({ onResolve }) {
      onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
        if (kind === "entry-point") return undefined;
        const file = resolve(resolveDir, path);
        const other = inCore.has(file) ? core : exported.includes(relative(".", file)) && file;
        return other ? { path: pathTo(other), external: true } : undefined;
      });
    },
  };
}

/** @throws an Error after esbuild has shown each import of a name that src/core.ts does not export. */
async function refuseUnknownNames(): Promise<void> {
  const { bundle, packages, platform } = options;
  const [system] = systems;
  const entryPoints = [...exported, ...run].map((source) => outputOf(source, system));
  const { format } = system;
  await build({ bundle, format, packages, platform, entryPoints, outdir: "dist", write: false }).catch(() => {
    throw new Error("src/core.ts does not export all that other entries use of the core.");
  });
}

/** @throws an Error that names each module with code that is part of no entry. */
function refuseUnused(): void {
  const unused = globSync("src/**/*.ts").filter((file) => !inputs.has(resolve(file)) && hasCode(file));
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
