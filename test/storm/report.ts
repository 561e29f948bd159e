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

export function resultsTable(outcomes: Outcome[]): string[][] {
  const header = [
    "library",
    "acquisitions",
    "overlaps",
    "went on after abort",
    "orphan s",
    "of killed, s",
    "orphans > a lease",
    "wrong verdicts",
    "starved",
    "fences",
    "stale let in",
    "stale refused",
    "late writes",
    "leaks",
    "processes",
    "errors",
  ];
  return [
    header,
    ...outcomes.map((outcome) => {
      const { library, figures } = outcome;
      const fenced = (kind: FindingKind) => (library.fences ? `${count(outcome, kind)}` : "–");
      return [
        `${library.title} ${library.version}`,
        `${figures.acquisitions}`,
        `${count(outcome, "overlap")}`,
        `${count(outcome, "access")}`,
        figures.orphanSeconds.alive.toFixed(1),
        figures.orphanSeconds.killed.toFixed(1),
        `${count(outcome, "orphan")}`,
        `${count(outcome, "verdict")}`,
        `${count(outcome, "starved")}`,
        fenced("fence"),
        fenced("stale"),
        library.fences ? `${figures.lateWrites.refused}` : "–",
        `${figures.lateWrites.accepted}`,
        `${count(outcome, "leak")}`,
        `${count(outcome, "process")}`,
        `${count(outcome, "error")}`,
      ];
    }),
  ];
}

export function faultsTable(outcomes: Outcome[]): string[][] {
  const kinds = [...new Set(outcomes.flatMap(({ faults }) => faults))];
  const row = (what: string, cell: (outcome: Outcome) => string) => [what, ...outcomes.map(cell)];
  return [
    row("", ({ library }) => library.title),
    row("attempts", ({ figures }) => `${figures.attempts}`),
    row("of these refused, busy", ({ figures }) => `${figures.busy}`),
    row("of these refused, unknown", ({ figures }) => `${figures.unknown}`),
    row("attempts that nothing befell", ({ figures }) => `${figures.untroubled}`),
    row("client processes", ({ figures }) => `${figures.processes}`),
    ...kinds.map((kind) =>
      row(kind, ({ faults, figures }) => (faults.includes(kind) ? `${figures.faults.get(kind) ?? 0}` : "–")),
    ),
  ];
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
