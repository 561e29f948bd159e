import { spawnSync } from "node:child_process";
import type { Verdict } from "../../bench/lib/report.ts";
import { type FindingKind, findingKinds } from "./check/finding.ts";
import type { Verdicts } from "./checker.ts";
import type { Library } from "./libraries/library.ts";

/** What became of one library in a storm. */
export interface Outcome extends Verdicts {
  library: Library;
  /** The kinds of faults it was to meet. */
  faults: string[];
}

const shown = 3;

/** What was wrong, by kind, with the log lines that show it. */
export function evidenceOf({ library, findings }: Outcome): string {
  const kinds = Object.entries(findingKinds) as [FindingKind, string][];
  const parts = kinds.flatMap(([kind, what]) => {
    const found = findings.filter((finding) => finding.kind === kind);
    if (!found.length) return [];
    const some = found.slice(0, shown).map(({ text, evidence }) => {
      const lines = evidence.map((line) => `      ${JSON.stringify(line)}`);
      return [`    ${text}`, ...lines].join("\n");
    });
    const more = found.length > shown ? [`    … and ${found.length - shown} more`] : [];
    return [[`  ${kind}: ${what} (${found.length})`, ...some, ...more].join("\n")];
  });
  return `${library.title}\n${parts.join("\n")}\n`;
}

const count = ({ findings }: Outcome, kind: FindingKind) =>
  findings.filter((finding) => finding.kind === kind).length;

/** A column for each library; "–" where it has no such thing. */
function table(
  outcomes: Outcome[],
  rows: [string, (outcome: Outcome) => string | number | undefined][],
): string[][] {
  const header = ["", ...outcomes.map(({ library }) => `${library.title} ${library.version}`)];
  return [
    header,
    ...rows.map(([what, cell]) => [what, ...outcomes.map((outcome) => `${cell(outcome) ?? "–"}`)]),
  ];
}

export function resultsTable(outcomes: Outcome[]): string[][] {
  const seconds = (which: "alive" | "killed") => (outcome: Outcome) =>
    outcome.figures.orphanSeconds[which].toFixed(1);
  const kind = (name: FindingKind) => (outcome: Outcome) => count(outcome, name);
  const fenced = (cell: (outcome: Outcome) => number) => (outcome: Outcome) =>
    outcome.library.fences ? cell(outcome) : undefined;
  return table(outcomes, [
    ["acquisitions", ({ figures }) => figures.acquisitions],
    ["overlaps", kind("overlap")],
    ["locks idle for long while somebody waited", kind("idle")],
    ["s that locks had room for all who waited", ({ figures }) => figures.idleSeconds.toFixed(1)],
    ["keys of several kept in vain", kind("vain")],
    [
      "sure for longer than Redis",
      (outcome) => (outcome.library.tells ? count(outcome, "validity") : undefined),
    ],
    ["went on after an abort", kind("access")],
    ["locks held past a lease and a request", kind("orphan")],
    ["s that locks were held by nobody, their clients alive", seconds("alive")],
    ["s that locks were held by nobody, their clients killed", seconds("killed")],
    ["let in against an operator's word", kind("letin")],
    ["ended by an operator, and not told so", kind("untold")],
    ["results that none made", kind("value")],
    ["results of holders that had lost their lock", kind("lost")],
    ["results given after their time", kind("old")],
    ["work done again while its result was kept", kind("again")],
    ["wrong verdicts", kind("verdict")],
    ["starved waiters", kind("starved")],
    ["fencing tokens out of order", fenced(kind("fence"))],
    ["stale writes let in by their fence", fenced(kind("stale"))],
    ["stale writes refused by their fence", fenced(({ figures }) => figures.lateWrites.refused)],
    ["late writes without a fence", ({ figures }) => figures.lateWrites.accepted],
    ["keys left", kind("leak")],
    ["processes stuck or failed", kind("process")],
    ["errors that are no answer", kind("error")],
  ]);
}

export function faultsTable(outcomes: Outcome[]): string[][] {
  const kinds = [...new Set(outcomes.flatMap(({ faults }) => faults))];
  return table(outcomes, [
    ["attempts", ({ figures }) => figures.attempts],
    ["of these refused, busy", ({ figures }) => figures.busy],
    ["of these refused, unknown", ({ figures }) => figures.unknown],
    ["of all, those that nothing befell", ({ figures }) => figures.untroubled],
    ["client processes", ({ figures }) => figures.processes],
    ...kinds.map((kind): [string, (outcome: Outcome) => number | undefined] => [
      kind,
      ({ faults, figures }) => (faults.includes(kind) ? (figures.faults.get(kind) ?? 0) : undefined),
    ]),
  ]);
}

/**
 * What a storm of this package's lock has to show.
 * @param forgets whether Redis forgot its data: then overlaps are possible, and have to be seen for the fencing that
 * makes up for them to have been tried
 */
export function wanted(outcome: Outcome, least: number, forgets: boolean): Verdict[] {
  const { figures, findings } = outcome;
  const verdict = (what: string, seen: number, atLeast?: number): Verdict => ({
    what,
    wanted: atLeast === undefined ? "0" : `≥ ${atLeast}`,
    seen: `${seen}`,
    pass: atLeast === undefined ? seen === 0 : seen >= atLeast,
    exact: true,
  });
  const kinds = Object.entries(findingKinds) as [FindingKind, string][];
  return [
    verdict("acquisitions", figures.acquisitions, least),
    verdict("kinds of faults that fired", faultsFired(outcome), outcome.faults.length),
    ...(forgets ? [verdict("stale writes refused by their fence", figures.lateWrites.refused, 1)] : []),
    ...kinds
      .filter(([kind]) => kind !== "vacuous")
      .map(([kind, what]) => {
        const seen = findings.filter((finding) => finding.kind === kind).length;
        return forgets && kind === "overlap" ? verdict(what, seen, 1) : verdict(what, seen);
      }),
  ];
}

function faultsFired({ faults, figures }: Outcome): number {
  return faults.filter((kind) => figures.faults.get(kind)).length;
}

export function redisVersion(): string {
  return /v=(\S+)/.exec(spawnSync("redis-server", ["--version"]).stdout.toString())?.[1] ?? "unknown";
}
