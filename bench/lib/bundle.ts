import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { root } from "./report.ts";

export interface Bundle {
  text: string;
  minified: number;
  gzipped: number;
  /** How many files it was made of. */
  files: number;
  /** Bytes of each input in the bundle, the largest first. */
  inputs: [file: string, bytes: number][];
}

/** Bundles a module given as text, whose imports are looked up from the repository's root. */
export async function bundle(code: string, { minify = true } = {}): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: fileURLToPath(root), loader: "js" },
    absWorkingDir: fileURLToPath(root),
    bundle: true,
    minify,
    format: "esm",
    platform: "node",
    target: "es2023",
    // The user's own: nothing of it is shipped.
    external: ["@opentelemetry/api"],
    write: false,
    metafile: true,
    outfile: "bundle.js",
    logLevel: "silent",
  });
  const [output] = outputFiles;
  const [about] = Object.values(metafile.outputs);
  if (!output || !about) throw new Error("esbuild made no bundle");
  const inputs = Object.entries(about.inputs).map(([file, { bytesInOutput }]): [string, number] => [
    file,
    bytesInOutput,
  ]);
  return {
    text: output.text,
    minified: output.contents.length,
    gzipped: gzipSync(output.contents, { level: 9 }).length,
    // The given text is none.
    files: Object.keys(metafile.inputs).length - 1,
    inputs: inputs.filter(([, bytes]) => bytes > 0).sort(([, a], [, b]) => b - a),
  };
}
