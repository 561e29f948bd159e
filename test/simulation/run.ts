// Plays as many histories as it is told to: node test/simulation/run.ts --help
import { parseArgs } from "node:util";
import { buildVariant } from "../broken/build.ts";
import { type VariantName, variants } from "../broken/variants.ts";
import { describe } from "./batch.ts";
import { type Kind, kinds } from "./plan.ts";
import { playHistories } from "./pool.ts";

const usage = `Plays random histories of the lock on a virtual clock and a virtual network, until one goes wrong.

  node test/simulation/run.ts [--histories 20000] [--seed N] [--minutes M] [--workers W]
                              [--kinds exclusive,permits] [--real] [--quiet]
  node test/simulation/run.ts --seed N --path P
  node test/simulation/run.ts --broken "no tickets"

  --histories  how many
  --seed       which; by default others each time
  --minutes    begin no more after so many minutes
  --workers    in how many processes; by default one for each processor
  --kinds      what is locked: some of ${kinds.join(", ")},
               each in as many histories as the others; by default all. "exclusive" is one exclusive lock; "permits",
               "readers" and "several" have these beside it; "mixed" has all of them on three keys
  --real       all on the real Lua scripts, not only one in five
  --quiet      no line of progress
  --path       only the one history that a failure named, with its seed and the other options of that run
  --broken     with a defect built in, which is to be found: ${Object.keys(variants).join(", ")}

Exits with 0 when all went well, 1 when a history went wrong, which is printed, made as small as it could
be, 2 when it could not be run.`;

const options = {
  histories: { type: "string", default: "20000" },
  seed: { type: "string", default: `${Date.now() % 1_000_000_000}` },
  minutes: { type: "string", default: "Infinity" },
  workers: { type: "string" },
  path: { type: "string" },
  broken: { type: "string" },
  kinds: { type: "string", default: kinds.join() },
  real: { type: "boolean", default: false },
  quiet: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>["values"];

try {
  const { values } = parseArgs({ options });
  if (values.help) console.log(usage);
  else await main(values);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}

async function main(values: Values): Promise<void> {
  const count = (name: "seed" | "histories" | "workers" | "minutes") => {
    const number = Number(values[name]);
    if (number >= 0 && (Number.isInteger(number) || name === "minutes")) return number;
    throw new TypeError(`--${name} ${values[name]}: a number is wanted`);
  };
  const seed = count("seed");
  const histories = count("histories");
  const started = performance.now();
  let last = started;
  const { broken } = values;
  if (broken !== undefined && !Object.hasOwn(variants, broken))
    throw new TypeError(`--broken ${broken}: one of ${Object.keys(variants).join(", ")} is wanted`);
  const some = values.kinds.split(",").map((each) => each.trim()) as Kind[];
  for (const each of some)
    if (!kinds.includes(each))
      throw new TypeError(`--kinds ${values.kinds}: some of ${kinds.join(", ")} are wanted`);
  console.log(`seed ${seed}`);
  const { counts, minutes, failure } = await playHistories({
    ...{ seed, histories, path: values.path },
    minutes: count("minutes"),
    workers: values.workers === undefined ? undefined : count("workers"),
    kinds: some,
    engines: values.real || broken ? ["real"] : undefined,
    file: broken && (await buildVariant(broken as VariantName)),
    onProgress(counts) {
      if (values.quiet || performance.now() - last < 10_000) return;
      last = performance.now();
      const played = counts.histories ?? 0;
      console.log(`${played} histories, ${perMinute(played, (last - started) / 60_000)} a minute`);
    },
  });
  const played = counts.histories ?? 0;
  for (const [what, times] of Object.entries(counts).sort()) console.log(`${what}: ${times}`);
  console.log(`${minutes.toFixed(1)} minutes, ${perMinute(played, minutes)} histories a minute`);
  if (failure) console.error(describe(failure));
  console.log(failure ? "1 history went wrong" : `none of ${played} histories went wrong`);
  if (played === 0) throw new Error("nothing follows from no history");
  process.exitCode = failure ? 1 : 0;
}

function perMinute(histories: number, minutes: number): number {
  return Math.round(histories / minutes);
}
