import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import {
  commandLine,
  madeWith,
  publish,
  readArgs,
  reportHelp,
  today,
  wholeNumber,
} from "../../bench/lib/report.ts";
import { REQUEST_KINDS, STREAM_KINDS } from "../../src/dev/faults.ts";
import { buildVariant } from "../broken/build.ts";
import { type VariantName, variants } from "../broken/variants.ts";
import { hasRedisServer } from "../helpers/redis-server.ts";
import { operatorFaults, operatorLimits, processFaults, resultFaults } from "./check/faults.ts";
import { findingKinds } from "./check/finding.ts";
import { check, isVacuous, type Verdicts } from "./checker.ts";
import { runStorm } from "./director.ts";
import { libraryNames, libraryOf } from "./libraries/index.ts";
import type { Library } from "./libraries/library.ts";
import type { Logs } from "./log.ts";
import { evidenceOf, faultsTable, type Outcome, redisVersion, resultsTable, wanted } from "./report.ts";
import { keysOf, kindNames } from "./settings.ts";

const help = `Usage: npm run storm -- [options]

Client processes take locks, while their requests get lost, they are stopped and killed, their clocks are moved, and
Redis is paused and killed. Then the logs are read: exits with 1 if anything was wrong with this package's lock, or too
little happened to tell.

Options:
  --seed <n>           Of the weather and of what the clients do (default: random, and printed)
  --minutes <n>        How long; fractions are fine (default: 1). Up to twice as long if too little has happened by then
  --until <finding>    Ends as soon as there is such a finding, twice in a row: ${Object.keys(findingKinds).slice(0, -1).join(", ")}
  --library <name>     ${libraryNames.join(", ")}; the path of a module
                       that exports createLocker; or this package with a defect:
                       ${Object.keys(variants)
                         .map((name) => `"${name}"`)
                         .join("\n                       ")}
                       Several, one after the other, if given more than once (default: serverless-lock)
  --kinds <which>      ${kindNames.join(", ")}: permits have limits and weights; mixed are both, readers and
                       writers, and several keys; results are those of singleFlight (default: mixed where all libraries know them, else exclusive)
  --operator <how>     Somebody on call ends locks now and then, pauses some and limits permits. safe: ends them safely.
                       now: at once; what the old holder believes does not count then (default: nobody)
  --persistence <how>  aof: Redis keeps its data when it is killed (default). none: it forgets all; then two may hold a
                       lock, and the storm fails unless that is seen and fencing refuses every stale write.
  --clients <n>        Client processes (default: 6)
  --workers <n>        Workers in each (default: 5)
  --least <n>          Acquisitions below which nothing follows from a storm (default: 1000 a minute)
  --logs <folder>      Keep the logs there (default: a temporary folder, kept if anything was wrong)
${reportHelp}
Needs redis-server on the PATH, and for redlock and redis-semaphore "npm ci --prefix test/storm". Whom a fault hits
depends on who holds a lock by then: the same seed makes the same weather, not the same storm.
`;

const args = readArgs(help, {
  seed: { type: "string", default: `${Math.floor(Math.random() * 2 ** 32)}` },
  minutes: { type: "string", default: "1" },
  until: { type: "string" },
  library: { type: "string", multiple: true, default: ["serverless-lock"] },
  kinds: { type: "string" },
  operator: { type: "string" },
  persistence: { type: "string", default: "aof" },
  clients: { type: "string", default: "6" },
  workers: { type: "string", default: "5" },
  least: { type: "string" },
  logs: { type: "string" },
});
const seed = wholeNumber("seed", args.seed, 0);
const clients = wholeNumber("clients", args.clients, 2);
const workers = wholeNumber("workers", args.workers, 1);
const minutes = Number(args.minutes);
if (!(minutes >= 0.05)) fail(`--minutes is ${args.minutes}, but must be a number, at least 0.05`);
const least = args.least ? wholeNumber("least", args.least, 1) : Math.floor(1000 * minutes);
const { until } = args;
if (until && !(until in findingKinds)) fail(`--until is ${until}: there is no such finding`);
const forgets = args.persistence === "none";
if (!forgets && args.persistence !== "aof")
  fail(`--persistence is ${args.persistence}, but must be aof or none`);
const operator = (["safe", "now"] as const).find((how) => how === args.operator);
if (args.operator && !operator) fail(`--operator is ${args.operator}, but must be safe or now`);
if (!hasRedisServer) fail("There is no redis-server on the PATH, and no storm without one.");
const libraries = await Promise.all(
  args.library.map(async (name) => {
    const known = name in variants ? await buildVariant(name as VariantName) : name;
    return libraryOf(known, name) ?? fail(`--library is ${name}: there is none`);
  }),
);

const wholly = libraries.every((library) => library.kinds.includes("mixed"));
const kinds =
  kindNames.find((name) => name === (args.kinds ?? (wholly ? "mixed" : "exclusive"))) ??
  fail(`--kinds is ${args.kinds}, but must be one of ${kindNames.join(", ")}`);
for (const library of libraries)
  if (!library.kinds.includes(kinds)) fail(`--kinds is ${kinds}, which ${library.title} does not know`);
for (const library of libraries)
  if (operator && !library.operator) fail(`--operator: ${library.title} has none`);

// Exiting, it ends the processes it started; some of them are stopped, and would stay.
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => process.exit(1));
const titles = {
  exclusive: "exclusive locks",
  permits: "permits",
  mixed: "locks of all kinds",
  results: "results",
};
const outcomes: Outcome[] = [];
const leftOut: string[] = [];
for (const library of libraries) {
  if (library.version === "not installed") leftOut.push(library.name);
  else outcomes.push(await storm(library));
}
if (!outcomes.length) fail(`Not installed: ${leftOut.join(", ")}. npm ci --prefix test/storm`);
const note = leftOut.length ? `Left out, not installed: ${leftOut.join(", ")}.` : "";
publish(
  {
    title: `A storm of ${minutes} min, seed ${seed}: ${titles[kinds]}${operator ? ", and an operator" : ""}`,
    command: commandLine("test/storm/storm.ts"),
    date: today(),
    made: {
      ...madeWith(),
      Redis: `${redisVersion()} ${forgets ? "without persistence" : "with AOF"}`,
      clients: `${clients} × ${workers} workers`,
    },
    sections: [
      { title: "What was seen", table: resultsTable(outcomes), note },
      { title: "What befell it", table: faultsTable(outcomes) },
    ],
    verdicts: outcomes
      .filter(({ library }) => library.ours)
      .flatMap((outcome) => wanted(outcome, least, forgets)),
  },
  args,
);

async function storm(library: Library): Promise<Outcome> {
  process.stderr.write(`${library.title} ${library.version}, seed ${seed}, ${minutes} min\n`);
  const folder = args.logs
    ? resolve(args.logs, library.title.replace(/\W+/g, "-"))
    : mkdtempSync(join(tmpdir(), "storm-"));
  const faults = [
    ...processFaults,
    ...(library.transport === "http" ? REQUEST_KINDS : []),
    // Nobody else listens to streams.
    ...(library.ours ? STREAM_KINDS : []),
    ...(kinds === "results" ? resultFaults : []),
    ...(operator ? operatorFaults : []),
    ...(operator && keysOf(kinds).some((key) => key.startsWith("permits")) ? [operatorLimits] : []),
  ];
  const expected = { acquisitions: least, faults, tells: library.tells };
  const checked = (logs: Logs) => check(logs, expected);
  const isLasting = lastingFinding(until);
  const enough = (seconds: number, logs: () => Logs) => {
    if (until) return seconds >= 60 * minutes || isLasting(checked(logs()));
    if (seconds < 60 * minutes || seconds >= 120 * minutes) return seconds >= 120 * minutes;
    // To read the logs takes a second, in which no request is answered.
    if (seconds % 15 !== 0) return false;
    const now = logs();
    if (isVacuous(now, expected)) return false;
    if (!forgets) return true;
    const { findings, figures } = checked(now);
    return findings.some(({ kind }) => kind === "overlap") && figures.lateWrites.refused > 0;
  };
  const options = {
    seed,
    library,
    kinds,
    operator,
    persistence: !forgets,
    clients,
    workers,
    folder,
    progress,
    enough,
  };
  const outcome = { library, faults, ...checked(await runStorm(options)) };
  if (outcome.findings.length) process.stdout.write(`${evidenceOf(outcome)}\nLogs: ${folder}\n\n`);
  else if (!args.logs) rmSync(folder, { recursive: true });
  return outcome;
}

/**
 * Tells whether a finding of this kind was there at the look before, too. In the middle of a storm the line that excuses
 * an answer may be written after the answer.
 */
function lastingFinding(kind: string | undefined): (verdicts: Verdicts) => boolean {
  let before = new Set<string>();
  return ({ findings }) => {
    const now = findings.filter((finding) => finding.kind === kind).map(({ text }) => text);
    const lasts = now.some((text) => before.has(text));
    before = new Set(now);
    return lasts;
  };
}

/** On one line of a terminal; elsewhere a line now and then. */
function progress(seconds: number, text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (seconds % 15 === 0) process.stderr.write(`${text}\n`);
}

function fail(text: string): never {
  process.stderr.write(`${text}\nSee --help\n`);
  process.exit(2);
}
