import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { VariantName } from "../broken/variants.ts";

const run = promisify(execFile);
const model = fileURLToPath(new URL("lock.pml", import.meta.url));

/** What the model's check lacks; undefined if nothing. Debian's packages have these names. */
export const missing: string | undefined = ["spin", "gcc"]
  .filter((program) => spawnSync(program, [program === "spin" ? "-V" : "--version"]).status !== 0)
  .map((program) => `needs ${program} on the PATH`)[0];

/** What is locked beside exclusive locks. */
export const kinds = ["readers", "permits"] as const;
export type Kind = (typeof kinds)[number];

/** How large the model is, and what may happen in it. */
export interface Configuration {
  clients: number;
  rounds: number;
  /** How many faults may happen in all. */
  faults: number;
  /** What the clients ask for: the first an exclusive lock, the others share it; or the first both of two permits, the
   * others one of them. @default an exclusive lock */
  kind?: Kind | undefined;
  /** Requests take as long as they like. */
  slowRequests?: boolean;
  /** The rounds never end, and a waiter that does not leave has to be served. */
  live?: boolean;
}

/** What the tests check. */
export const configurations: Configuration[] = [
  { clients: 3, rounds: 1, faults: 1 },
  { clients: 2, rounds: 2, faults: 1 },
  { clients: 2, rounds: 1, faults: 2, slowRequests: true },
  { clients: 3, rounds: 1, faults: 0, live: true },
  { clients: 2, rounds: 1, faults: 2, live: true },
  { clients: 2, rounds: 2, faults: 1, kind: "readers" },
  { clients: 2, rounds: 2, faults: 1, kind: "permits" },
  { clients: 3, rounds: 1, faults: 0, kind: "readers", live: true },
  { clients: 3, rounds: 1, faults: 0, kind: "permits", live: true },
];

/** What takes minutes. */
export const longConfigurations: Configuration[] = [
  { clients: 3, rounds: 1, faults: 1, live: true },
  { clients: 2, rounds: 1, faults: 3 },
  { clients: 2, rounds: 1, faults: 3, slowRequests: true },
  { clients: 2, rounds: 2, faults: 2 },
  { clients: 3, rounds: 2, faults: 0 },
  { clients: 3, rounds: 1, faults: 1, kind: "readers" },
  { clients: 3, rounds: 1, faults: 1, kind: "permits" },
];

const findings = {
  "a holder that the server does not know": /assertion violated .*lease>0/,
  "two that believe": /assertion violated .*sum(<=2|==0)/,
  "an orphan": /assertion violated .*clean/,
  "a waiter that is back after it has left": /assertion violated .*gone/,
  "a waiter that is never served": /acceptance cycle/,
};

export type Finding = keyof typeof findings;

/** The model has one key, no operator and no results. */
type LeftOut =
  | "one key kept after a vain attempt at several"
  | "a safe release that frees at once"
  | "a holder that is not told that an operator ended it"
  | "a pause that lets in who waits"
  | "a result stored by a holder that lost its lock"
  | "a result stored in one step and the lock released in another";

export type MutationName = Exclude<VariantName, LeftOut> | "no tombstone";

const twoRounds: Configuration = { clients: 2, rounds: 2, faults: 1 };
const forEver: Configuration = { clients: 2, rounds: 1, faults: 1, live: true };

/** In which configuration Spin finds what follows from a safeguard taken out, and what that is. */
export const mutations: Record<MutationName, { configuration: Configuration; finding: Finding }> = {
  "release without comparison": { configuration: twoRounds, finding: "two that believe" },
  "validity counted from the reply": { configuration: twoRounds, finding: "two that believe" },
  "no drift allowance": { configuration: twoRounds, finding: "two that believe" },
  "grant counted from the message": { configuration: twoRounds, finding: "two that believe" },
  "cut grant taken for a whole one": { configuration: twoRounds, finding: "two that believe" },
  "no tickets": { configuration: twoRounds, finding: "two that believe" },
  "own value found on a retry counted from the retry": {
    configuration: twoRounds,
    finding: "two that believe",
  },
  "non-idempotent take": { configuration: twoRounds, finding: "an orphan" },
  "a holder that is forgotten when the first waits": {
    configuration: twoRounds,
    finding: "two that believe",
  },
  "a dead holder's lock passed on by nobody": {
    configuration: forEver,
    finding: "a waiter that is never served",
  },
  "a dead waiter's grant passed on by nobody but the next release": {
    configuration: forEver,
    finding: "a waiter that is never served",
  },
  "a limit counted without weights": {
    configuration: { ...twoRounds, kind: "permits" },
    finding: "two that believe",
  },
  "a key's life cut by one short lease": {
    configuration: { ...twoRounds, kind: "permits" },
    finding: "two that believe",
  },
  "a reader let past a waiting writer": {
    configuration: { clients: 3, rounds: 1, faults: 0, kind: "readers", live: true },
    finding: "a waiter that is never served",
  },
  "no tombstone": { configuration: twoRounds, finding: "a waiter that is back after it has left" },
};

export interface Result {
  states: number;
  seconds: number;
  megabytes: number;
  /** What is wrong; undefined if nothing is. */
  finding: Finding | undefined;
  /** How that comes about, a step a line. */
  trail: string;
}

/**
 * Lets Spin look at every state.
 * @param mutation the safeguard to take out. Then the shortest way to what follows is looked for, if it is no cycle
 * @throws if not every state could be looked at
 */
export async function checkModel(configuration: Configuration, mutation?: MutationName): Promise<Result> {
  const { clients, rounds, faults, kind, slowRequests, live } = configuration;
  const shortest = mutation !== undefined && !live;
  const flags = [`-DN=${clients}`, `-DROUNDS=${rounds}`, `-DFAULTS=${faults}`];
  if (kind) flags.push(`-D${kind.toUpperCase()}`);
  if (slowRequests) flags.push("-DSLOW_REQUESTS");
  if (live) flags.push("-DLIVE");
  if (shortest) flags.push("-DSHORTEST_TRAIL");
  // The stronger property would be found first.
  flags.push(mutation === undefined ? "-DSERVER_AGREES" : `-D${flagOf(mutation)}`);

  // Nearly all variables are global: looking for independent steps costs more than it saves.
  // And optimizing costs more than it saves where the search is short.
  const compile = ["-w", mutation || live ? "-O0" : "-O1", "-DNOREDUCE"];
  compile.push(...(live ? ["-DNFAIR=3"] : ["-DSAFETY"]), ...(shortest ? ["-DBFS"] : []));
  // Every process that could always take a step takes one.
  const search = [...(live ? ["-a", "-f"] : []), "-m2000000", mutation ? "-w20" : "-w24"];

  const cwd = await mkdtemp(join(tmpdir(), "serverless-lock-model-"));
  const maxBuffer = 100_000_000;
  try {
    await run("spin", [...flags, "-a", model], { cwd });
    await run("gcc", [...compile, "-o", "pan", "pan.c"], { cwd });
    const { stdout } = await run("./pan", search, { cwd, maxBuffer });
    const failed = !/errors: 0\b/.test(stdout);
    if (!failed && /not completed|out of memory|too small/.test(stdout)) throw new Error(stdout);
    const finding = Object.entries(findings).find(([, shown]) => shown.test(stdout))?.[0] as Finding;
    if (failed && !finding) throw new Error(stdout);
    const replay = ["-k", "lock.pml.trail", "-T", model];
    const replayed = failed ? (await run("spin", [...flags, ...replay], { cwd, maxBuffer })).stdout : "";
    const steps = replayed.split("\n").filter((line) => /^(?:client|the server|a tick|<<<)/.test(line));
    const number = (text: RegExp) => Number(text.exec(stdout)?.[1]);
    return {
      states: number(/(\d\S*) states, stored/),
      seconds: number(/elapsed time (\S+) seconds/),
      megabytes: number(/(\S+)\ttotal actual memory usage/),
      finding,
      trail: steps.join("\n"),
    };
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}

function flagOf(name: MutationName): string {
  return name
    .replaceAll("'", "")
    .replace(/[^a-z]/g, "_")
    .toUpperCase();
}

/** A line on a configuration. */
export function describeConfiguration({
  clients,
  rounds,
  faults,
  kind,
  slowRequests,
  live,
}: Configuration): string {
  const size = live ? `${clients} clients for ever` : `${clients} clients × ${count(rounds, "round")}`;
  return `${size}, ${count(faults, "fault")}${kind ? `, ${kind}` : ""}${slowRequests ? ", slow requests" : ""}`;
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

/** A line on what was seen. */
export function describeResult({ states, seconds, megabytes, finding }: Result): string {
  return `${finding ?? "nothing wrong"}: ${states} states, ${seconds} s, ${Math.round(megabytes)} MB`;
}
