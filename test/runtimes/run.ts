// The command line of the runtimes.
import { parseArgs } from "node:util";
import { steps } from "./check.ts";
import { failures, type Row, runAll } from "./matrix.ts";
import { isInstalled, type Runtime, runtimes } from "./runtimes.ts";

const HELP = `Usage: node test/runtimes/run.ts [runtime…] [options]

Runs the lock, as it is published, in real runtimes, each against a dev server, and prints what each step came to.
Needs npm run build, and npm ci --prefix test/runtimes/guest for the runtimes.

Runtimes, by default all that are installed:
${runtimes.map(({ id, name }) => `  ${id.padEnd(12)} ${name}`).join("\n")}

Options:
  --verbose  Print what was seen at each step, too
  --help     Show this

Exit code: 1 when a step failed or a runtime that was asked for is not installed, 2 for wrong arguments.
`;

async function main(): Promise<void> {
  const { names, help, verbose } = readArguments();
  if (help) return void process.stdout.write(HELP);
  const asked = names.length ? names.map(named) : runtimes;
  const leftOut = asked.filter((runtime) => !isInstalled(runtime));
  const started = Date.now();
  const rows = await runAll(asked.filter(isInstalled));
  console.log(table(rows));
  for (const row of rows) {
    for (const { step, ok, seen } of [
      ...(verbose ? row.reports.filter(({ ok }) => ok) : []),
      ...failures(row),
    ])
      console.log(`${ok ? "  " : "✗ "}${row.runtime.name}, ${step}: ${seen}`);
  }
  for (const { name } of leftOut) console.log(`Left out, not installed: ${name}`);
  const failed = rows.filter((row) => failures(row).length > 0);
  console.log(
    `${rows.length - failed.length} of ${rows.length} runtimes in ${seconds(Date.now() - started)}`,
  );
  if (failed.length > 0 || rows.length === 0 || (names.length > 0 && leftOut.length > 0))
    process.exitCode = 1;
}

function readArguments() {
  const options = { verbose: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const;
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  return { names: positionals, ...values };
}

function named(name: string): Runtime {
  const found = runtimes.find(({ id }) => id === name);
  if (!found) throw new TypeError(`no runtime ${name}; there are ${runtimes.map(({ id }) => id).join(", ")}`);
  return found;
}

/** A runtime a line, a step a column. */
function table(rows: readonly Row[]): string {
  const width = Math.max(...runtimes.map(({ name }) => name.length));
  const lines = rows.map(({ runtime, reports }) => {
    const marks = steps.map((name) => {
      const { ok } = reports.find(({ step }) => step === name) ?? {};
      return (ok === undefined ? "–" : ok ? "✓" : "✗").padEnd(name.length);
    });
    return [runtime.name.padEnd(width), ...marks].join("  ").trimEnd();
  });
  return [["".padEnd(width), ...steps].join("  "), ...lines].join("\n");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = error instanceof TypeError ? 2 : 1;
});
