import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bundle } from "./lib/bundle.ts";
import {
  commandLine,
  formatEstimate,
  madeWith,
  progress,
  publish,
  readArgs,
  reportHelp,
  today,
  type Verdict,
  wholeNumber,
} from "./lib/report.ts";
import { differenceOfMedians, median, shuffled } from "./lib/stats.ts";

const help = `Usage: node bench/import.ts [options]

Imports the built package, an empty module and the packages beside it, each in a fresh process, one of each a round in
random order. The time is that of \`await import(…)\` inside the process; the whole process is shown beside it.
Each is imported by its file: looking up a name would cost an empty package the same.

Options:
  --rounds <n>      Processes of each (default: 100)
${reportHelp}`;

/** What the README promises, in ms above an empty module. */
const budget = 2;

const args = readArgs(help, { rounds: { type: "string", default: "100" } });
const rounds = wholeNumber("rounds", args.rounds, 5);
const directory = mkdtempSync(join(tmpdir(), "serverless-lock-import-"));

interface Subject {
  name: string;
  imports: string[];
  /** With NODE_COMPILE_CACHE, which the round that does not count fills. */
  cached?: boolean;
  importMs: number[];
  processMs: number[];
}

// What the number of files costs: the same code, bundled and not minified.
const oneFile = await bundle('export * from "serverless-lock"', { minify: false });

const adapters = ["middy", "lambda", "fetch", "cloudflare", "hono", "schedule"];
const subjects: Subject[] = [
  subject("an empty module", moduleOf("empty", "")),
  subject("serverless-lock", "serverless-lock"),
  subject("serverless-lock, in one file", moduleOf("bundled", oneFile.text)),
  ...adapters.map((name) => subject(`serverless-lock/${name}`, `serverless-lock/${name}`)),
  { ...subject("serverless-lock, from Node's compile cache", "serverless-lock"), cached: true },
  subject("@upstash/redis", "@upstash/redis"),
  subject("@upstash/lock", "@upstash/lock"),
  subject("@upstash/lock and @upstash/redis", "@upstash/lock", "@upstash/redis"),
];

try {
  // The first round fills the system's file cache, and does not count.
  for (let round = 0; round <= rounds; round++) {
    progress(`round ${round} of ${rounds}`);
    for (const each of shuffled(subjects)) {
      const { importMs, processMs } = run(each);
      if (round === 0) continue;
      each.importMs.push(importMs);
      each.processMs.push(processMs);
    }
  }
  progress("");
} finally {
  rmSync(directory, { recursive: true, force: true });
}

const [empty, ours, bundled] = subjects as [Subject, Subject, Subject];
publish(
  {
    title: "Importing the built package",
    command: commandLine("bench/import.ts"),
    date: today(),
    made: madeWith("serverless-lock", "@upstash/redis", "@upstash/lock"),
    sections: [
      {
        title: `${rounds} processes of each`,
        table: [["", "import ms", "above empty [95 %]", "process ms"], ...subjects.map(row)],
        note: filesNote(),
        data: subjects,
      },
    ],
    verdicts: subjects.filter(({ name }) => /^serverless-lock(\/\w+)?$/.test(name)).map(verdict),
  },
  args,
);

function verdict({ name, importMs }: Subject): Verdict {
  const above = differenceOfMedians(importMs, empty.importMs);
  return {
    what: `import of ${name} above an empty module, ms`,
    wanted: `≤ ${budget}`,
    seen: formatEstimate(above, 2),
    pass: above.value <= budget,
    exact: false,
  };
}

function subject(name: string, ...imports: string[]): Subject {
  return { name, imports, importMs: [], processMs: [] };
}

function row(each: Subject): string[] {
  return [
    each.name,
    median(each.importMs).toFixed(2),
    each === empty ? "0" : formatEstimate(differenceOfMedians(each.importMs, empty.importMs), 2),
    median(each.processMs).toFixed(1),
  ];
}

function run({ imports, cached }: Subject): { importMs: number; processMs: number } {
  const files = imports.map((name) => import.meta.resolve(name));
  const statements = files.map((file) => `await import(${JSON.stringify(file)});`).join("");
  const code = `const start = performance.now();${statements}console.log(performance.now() - start)`;
  const start = performance.now();
  const env = { ...process.env, ...(cached && { NODE_COMPILE_CACHE: join(directory, "cache") }) };
  const child = spawnSync(process.execPath, ["--input-type=module", "--eval", code], {
    encoding: "utf8",
    env,
  });
  const processMs = performance.now() - start;
  if (child.status !== 0) throw new Error(`importing ${imports.join(", ")} failed:\n${child.stderr}`);
  return { importMs: Number(child.stdout), processMs };
}

function moduleOf(name: string, code: string): string {
  const file = join(directory, `${name}.mjs`);
  writeFileSync(file, code);
  return pathToFileURL(file).href;
}

function filesNote(): string {
  const saved = median(ours.importMs) - median(bundled.importMs);
  const each = (saved / (oneFile.files - 1)).toFixed(2);
  return `serverless-lock is ${oneFile.files} files, ${each} ms for each beside the first.`;
}
