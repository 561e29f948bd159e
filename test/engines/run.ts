// Runs contract, waiting, faults and dev on newer engines: the newest Redis and Valkey that can be had.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { unpacked } from "../helpers/newer-engines.ts";
import { unpackEngines } from "./unpack.ts";

const HELP = `Usage: npm run engines [-- options]

Unpacks newer engines into .engines (needs apt-get with Debian's sources), and runs the tests of the contract, waiting,
faults and the dev server on them too.

Options:
  --unpack       Unpack those that are not there yet, and run nothing
  --only <name>  Run the tests of one of them, such as "valkey 9.1.2"
  --help         Show this

Exit code: 0, also where no newer engine can be had, or 1 when a test failed, or 2 for wrong arguments.
`;

/** @returns the exit code. */
function main(): number {
  let values: { unpack?: boolean; only?: string; help?: boolean };
  try {
    ({ values } = parseArgs({
      options: { unpack: { type: "boolean" }, only: { type: "string" }, help: { type: "boolean" } },
    }));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  // Those that are there already stay: an attempt that broke off is taken up again.
  const failure = values.unpack || unpacked().length === 0 ? unpackEngines() : undefined;
  const engines = unpacked().map(({ name }) => name);
  if (failure !== undefined) console.log(`Newer engines are left out: ${failure}`);
  if (engines.length > 0) console.log(`Newer engines: ${engines.join(", ")}`);
  const { only } = values;
  if (values.unpack || engines.length === 0) return 0;
  if (only !== undefined && !engines.includes(only)) {
    process.stderr.write(`--only: got ${only}, expected one of ${engines.join(", ")}\n`);
    return 2;
  }
  const suites = ["test/contract", "test/waiting", "test/faults", "test/dev"];
  const named = only === undefined ? [] : ["--testNamePattern", only.replaceAll(".", "\\.")];
  const { status } = spawnSync("vitest", ["run", ...suites, ...named], {
    stdio: "inherit",
    env: { ...process.env, NEWER_ENGINES: "1" },
  });
  return status ?? 1;
}

process.exitCode = main();
