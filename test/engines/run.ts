// Runs contract, waiting, faults and dev on newer engines: the newest Redis and Valkey that can be had.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { unpacked } from "../helpers/newer-engines.ts";
import { unpackEngines } from "./unpack.ts";

const HELP = `Usage: npm run engines [-- options]

Unpacks newer engines into .engines (needs apt-get with Debian's sources), and runs the tests of the contract, waiting,
faults and the dev server on them too.

Options:
  --unpack       Unpack them, and run nothing
  --only <name>  Run the tests of one of them, such as "valkey 9.1.2"
  --help         Show this
`;

const { values } = parseArgs({
  options: { unpack: { type: "boolean" }, only: { type: "string" }, help: { type: "boolean" } },
});
if (values.help) {
  process.stdout.write(HELP);
} else {
  const failure = unpacked().length > 0 ? undefined : unpackEngines();
  const engines = unpacked().map(({ name }) => name);
  console.log(failure ? `Newer engines are left out: ${failure}` : `Newer engines: ${engines.join(", ")}`);
  if (!values.unpack && engines.length > 0) {
    const suites = ["test/contract", "test/waiting", "test/faults", "test/dev"];
    const { only } = values;
    const named = only === undefined ? [] : ["--testNamePattern", only.replaceAll(".", "\\.")];
    const { status } = spawnSync("vitest", ["run", ...suites, ...named], {
      stdio: "inherit",
      env: { ...process.env, NEWER_ENGINES: "1" },
    });
    process.exitCode = status ?? 1;
  }
}
