// Does what a newcomer does: each task in a fresh folder, with the packed package and with the code of docs/ alone.
//   node test/newcomer/run.ts [part of a task's name]
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { type Task, tasks } from "./tasks.ts";

const root = join(import.meta.dirname, "../..");
const installed = join(import.meta.dirname, "node_modules");
const base = mkdtempSync(join(tmpdir(), "serverless-lock-newcomer-"));
const [wanted = ""] = process.argv.slice(2);
let failed = 0;

for (const page of new Set(tasks.map((task) => task.page))) {
  const used = tasks.flatMap((task) => (task.page === page ? task.files : []));
  for (const file of codeOf(page).keys()) {
    if (used.includes(file)) continue;
    process.stdout.write(`FAILED docs/${page}: no task uses its code of ${file}\n`);
    failed++;
  }
}
try {
  const unpacked = unpack();
  for (const task of tasks.filter(({ name }) => name.includes(wanted))) {
    const problem = attempt(task, unpacked);
    process.stdout.write(`${problem === undefined ? "ok    " : "FAILED"} ${task.name}\n${problem ?? ""}`);
    if (problem !== undefined) failed++;
  }
} finally {
  rmSync(base, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

/** The package as a registry would have it. */
function unpack(): string {
  const to = join(base, "unpacked");
  mkdirSync(to);
  run(base, ["npm", "pack", root, "--ignore-scripts", "--silent"]);
  const [archive = ""] = readdirSync(base).filter((name) => name.endsWith(".tgz"));
  run(base, ["tar", "-xzf", archive, "-C", to, "--strip-components=1"]);
  return to;
}

/** Undefined when all of a task's commands did what they should, or what they said instead. */
function attempt({ name, page, files, added = {}, commands }: Task, unpacked: string): string | undefined {
  const folder = join(base, name.replaceAll(/\W+/g, "-"));
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, ".bin"), { recursive: true });
  for (const each of readdirSync(installed).filter((name) => name !== ".bin"))
    symlinkSync(join(installed, each), join(modules, each));
  for (const each of readdirSync(join(installed, ".bin")))
    symlinkSync(join(installed, ".bin", each), join(modules, ".bin", each));
  // A copy: what a link leads to has the neighbours of the place it leads to.
  cpSync(unpacked, join(modules, "serverless-lock"), { recursive: true });
  for (const [program, file] of Object.entries(manifest.bin)) {
    symlinkSync(join(modules, "serverless-lock", file), join(modules, ".bin", program));
    chmodSync(join(modules, "serverless-lock", file), 0o755);
  }
  const code = codeOf(page);
  try {
    for (const file of files) {
      const text = code.get(file);
      if (text === undefined) return `docs/${page} has no code of ${file}\n`;
      write(join(folder, file), text);
    }
    for (const [file, text] of Object.entries(added)) write(join(folder, file), text);
    for (const command of commands) run(folder, command);
    return undefined;
  } catch (error) {
    return `${(error as Error).message}\n`;
  }
}

/** The code of a page, by the path that each block begins with, in a comment. */
function codeOf(page: string): Map<string, string> {
  const text = readFileSync(join(root, "docs", page), "utf8");
  const blocks = text.matchAll(/^```[jt]sx?\n\/\/ (\S+)\n([\s\S]*?)^```$/gm);
  return new Map([...blocks].map(([, path = "", code = ""]) => [path, code]));
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** @throws an Error with what the command said, unless it succeeded */
function run(cwd: string, [command = "", ...args]: readonly string[]): void {
  const { PATH, HOME } = process.env;
  // No variable of Upstash's is there.
  const env = {
    // This Node, also where the machine has another.
    ...{
      PATH: [join(cwd, "node_modules/.bin"), dirname(process.execPath), PATH].join(":"),
      HOME,
      NODE_ENV: "",
    },
    ...{ NEXT_TELEMETRY_DISABLED: "1", WRANGLER_SEND_METRICS: "false", CI: "1" },
  };
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${status}\n${stdout}${stderr}`);
}
