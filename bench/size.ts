import { readFileSync, writeFileSync } from "node:fs";
import { type Bundle, bundle } from "./lib/bundle.ts";
import {
  commandLine,
  madeWith,
  publish,
  readArgs,
  reportHelp,
  root,
  today,
  type Verdict,
} from "./lib/report.ts";
import { measureSizes, type Part, wanted, withFigures, wrongFigures } from "./lib/sizes.ts";

const help = `Usage: node bench/size.ts [options]

Bundles the built package and its neighbours by esbuild, minifies them and compresses them by gzip -9.

Options:
  --write-readme    Put the figures between the size markers of README.md
${reportHelp}`;

const args = readArgs(help, { "write-readme": { type: "boolean" } });

const { bytes, core, all, source } = await measureSizes();
const neighbours = {
  "@upstash/redis": await bundle('export { Redis } from "@upstash/redis"'),
  "@upstash/lock": await bundle('export { Lock } from "@upstash/lock"'),
  "@upstash/lock and @upstash/redis": await bundle(
    'export { Lock } from "@upstash/lock"; export { Redis } from "@upstash/redis"',
  ),
};

if (args["write-readme"]) {
  const readme = new URL("README.md", root);
  const text = withFigures(readFileSync(readme, "utf8"), bytes);
  writeFileSync(readme, text);
  const wrong = wrongFigures(text, bytes);
  if (wrong.length) {
    process.stderr.write(`${wrong.join("\n")}\n`);
    process.exitCode = 1;
  }
}

publish(
  {
    title: "Sizes, bundled and minified",
    command: commandLine("bench/size.ts"),
    date: today(),
    made: madeWith("serverless-lock", "esbuild", "@upstash/redis", "@upstash/lock"),
    sections: [
      {
        title: "Bundles",
        table: [
          ["", "minified bytes", "gzip -9 bytes"],
          row("serverless-lock", core),
          row("serverless-lock with all its adapters", all),
          row("the same, its source bundled", source),
          ...Object.entries(neighbours).map(([name, each]) => row(name, each)),
        ],
      },
      {
        title: "serverless-lock with all its adapters, file by file of its source",
        table: [["file", "minified bytes", "share"], ...source.inputs.map(share)],
      },
    ],
    verdicts: (Object.keys(bytes) as Part[]).map(verdict),
  },
  args,
);

function row(name: string, { minified, gzipped }: Bundle): string[] {
  return [name, `${minified}`, `${gzipped}`];
}

function share([file, size]: [string, number]): string[] {
  return [file, `${size}`, `${((100 * size) / source.minified).toFixed(1)} %`];
}

function verdict(part: Part): Verdict {
  const what = part === "core" ? "serverless-lock" : `what ${part} adds`;
  const size = bytes[part];
  const pass = size <= wanted[part];
  return { what: `${what}, gzip -9 bytes`, wanted: `≤ ${wanted[part]}`, seen: `${size}`, pass, exact: true };
}
