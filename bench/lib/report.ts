import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname } from "node:path";
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import type { Estimate } from "./stats.ts";

export const root: URL = new URL("../../", import.meta.url);

/** Something wanted beside what was seen. A count is exact; a time depends on the machine and its other work. */
export interface Verdict {
  what: string;
  wanted: string;
  seen: string;
  pass: boolean;
  exact: boolean;
}

export interface Report {
  title: string;
  /** The command that makes the report, without what is told of nobody (a URL's password). */
  command: string;
  date: string;
  /** Versions and machine. */
  made: Record<string, string>;
  /** What holds for all sections. */
  note?: string;
  sections: Section[];
  verdicts: Verdict[];
  /** Drawings, as files beside the report. */
  plots?: { title: string; file: string }[];
}

export interface Section {
  title: string;
  note?: string;
  /** The first row is the header. */
  table: string[][];
  /** What goes to `--json` beside the table. */
  data?: unknown;
}

/** What every benchmark takes. */
const reportOptions = {
  md: { type: "string" },
  json: { type: "string" },
  check: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const satisfies ParseArgsOptionsConfig;

export const reportHelp = `  --md <file>       Also write the report as Markdown
  --json <file>     Also write it as JSON, samples included
  --check           Exit with 1 when a wanted time is missed too, not only a wanted count
  --help            Show this
`;

/** Reads the command line. `--help` and mistakes end the process. */
export function readArgs<T extends ParseArgsOptionsConfig>(help: string, options: T) {
  try {
    const { values } = parseArgs({ options: { ...options, ...reportOptions } as T & typeof reportOptions });
    if (!(values as { help?: boolean }).help) return values;
    process.stdout.write(help);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nSee --help\n`);
    process.exit(2);
  }
}

/** A positive whole number from the command line, or the process ends. */
export function wholeNumber(name: string, text: string, least: number): number {
  if (/^\d+$/.test(text) && Number(text) >= least) return Number(text);
  return refuse(name, text, `a whole number, at least ${least}`);
}

/** Ends the process over the value of an option. */
export function refuse(name: string, text: string, wanted: string): never {
  process.stderr.write(`--${name} is ${text}, but must be ${wanted}\n`);
  process.exit(2);
}

/** The versions that the figures depend on, of Node, the machine and the packages named. */
export function madeWith(...packages: string[]): Record<string, string> {
  const versions = packages.map((name) => [name, packageVersion(name)]);
  return {
    Node: process.version,
    machine: `${process.platform} ${process.arch}, ${cpus().length} cores`,
    ...Object.fromEntries(versions),
  };
}

export function packageVersion(name: string): string {
  const file = new URL(
    name === "serverless-lock" ? "package.json" : `node_modules/${name}/package.json`,
    root,
  );
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version.replace(/^v/, "");
}

/** The command as it was typed, relative to the repository; URLs lose their user and password. */
export function commandLine(script: string): string {
  const args = process.argv.slice(2).map((arg) => arg.replace(/\/\/[^/@]*@/, "//"));
  return ["node", script, ...args].join(" ");
}

/** Prints the report, writes the files asked for and sets the exit code. */
export function publish(report: Report, options: { md?: string; json?: string; check?: boolean }): void {
  const { note, sections, verdicts } = report;
  process.stdout.write(`${report.title}\n${madeLine(report)}\n${note ? `\n${note}\n` : ""}`);
  for (const { title, note, table } of sections) {
    process.stdout.write(`\n${title}\n\n${plainTable(table)}\n${note ? `\n${note}\n` : ""}`);
  }
  if (verdicts.length)
    process.stdout.write(`\nWanted beside seen\n\n${plainTable(verdictTable(verdicts))}\n`);
  if (options.md) writeTo(options.md, markdown(report));
  if (options.json) writeTo(options.json, `${JSON.stringify(report, null, 1)}\n`);
  if (verdicts.some(({ pass, exact }) => !pass && (exact || options.check))) process.exitCode = 1;
}

function markdown(report: Report): string {
  const sections = report.sections.map(({ title, note, table }) =>
    [`## ${title}`, markdownTable(table), ...(note ? [note] : [])].join("\n\n"),
  );
  const verdicts = report.verdicts.length
    ? [`## Wanted beside seen\n\n${markdownTable(verdictTable(report.verdicts))}`]
    : [];
  const head = [`# ${report.title}`, `${madeLine(report)}. Made by:`, `\`\`\`sh\n${report.command}\n\`\`\``];
  const plots = (report.plots ?? []).map(({ title, file }) => `![${title}](${file})`);
  const note = report.note ? [report.note] : [];
  return `${[...head, ...plots, ...note, ...sections, ...verdicts].join("\n\n")}\n`;
}

function madeLine({ date, made }: Report): string {
  return [date, ...Object.entries(made).map(([name, value]) => `${name} ${value}`)].join(" · ");
}

function verdictTable(verdicts: Verdict[]): string[][] {
  const rows = verdicts.map(({ what, wanted, seen, pass }) => [what, wanted, seen, pass ? "pass" : "MISS"]);
  return [["what", "wanted", "seen", ""], ...rows];
}

function plainTable(rows: string[][]): string {
  const widths = columnWidths(rows);
  const line = (row: string[]) =>
    `  ${row.map((cell, i) => pad(cell, widths[i] ?? 0, i)).join("  ")}`.trimEnd();
  return rows.map(line).join("\n");
}

function markdownTable([header = [], ...rows]: string[][]): string {
  const rule = header.map((_, i) => (i === 0 ? "---" : "---:"));
  return [header, rule, ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function columnWidths(rows: string[][]): number[] {
  return (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
}

function pad(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width);
}

export function writeTo(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

export function today(): string {
  return new Date().toISOString().slice(0, 10);
}

/** `1.042 [1.031, 1.055]` */
export function formatEstimate({ value, low, high }: Estimate, digits = 3): string {
  return `${value.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
}

/** Says on stderr how far it is, on one line of a terminal. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}
