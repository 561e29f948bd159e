import { createHash } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";
import { type Patch, type VariantName, variants } from "./variants.ts";

const source = fileURLToPath(new URL("../../src/", import.meta.url));
const entry = fileURLToPath(new URL("../simulation/entry.ts", import.meta.url));

/**
 * Bundles src/ into one module that has what `serverless-lock` exports, and what the simulation takes besides.
 * @param variant the defect to build in; none for src/ as it is
 * @returns the module's path, which stays the same while what is in it does
 * @throws when a patch does not fit the source any more
 */
export async function buildVariant(
  variant?: VariantName,
  patches: readonly Patch[] = variant ? variants[variant] : [],
): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2023",
    write: false,
    logLevel: "silent",
    plugins: [patching(patches)],
  });
  const text = outputFiles[0]?.text ?? "";
  const name = (variant ?? "as it is").replaceAll(" ", "-");
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 16);
  const file = join(tmpdir(), `serverless-lock-${name}-${hash}.mjs`);
  // Another process may be about to read it.
  await writeFile(`${file}.${process.pid}`, text);
  await rename(`${file}.${process.pid}`, file);
  return file;
}

function patching(patches: readonly Patch[]): Plugin {
  return {
    name: "patch",
    setup({ onLoad, onEnd }) {
      const unused = new Set(patches);
      onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        let contents = await readFile(path, "utf8");
        const file = relative(source, path).replaceAll(sep, "/");
        for (const patch of patches.filter((each) => each.file === file)) {
          unused.delete(patch);
          const [before, after, ...more] = contents.split(patch.replace);
          if (after === undefined || more.length > 0)
            throw new Error(`src/${file} does not have this text once: ${patch.replace}`);
          contents = before + patch.by + after;
        }
        return { contents, loader: "ts" };
      });
      onEnd(() => {
        for (const { file } of unused) throw new Error(`src/${file} is not in the bundle`);
      });
    },
  };
}
