// What people see.
import { styleText } from "node:util";
import type { Holder, Inspection, Waiter } from "../admin/index.ts";
import { LockError, printable } from "../errors.ts";

export function print(text: string): void {
  process.stdout.write(text);
}

/** Whoever reads may stop to: `… | head`. Output that cannot be written, as to a full disk, is told in a line. */
export function endWhenOutputFails(): void {
  process.stdout.on("error", ({ code, message }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") process.exit(0);
    process.stderr.write(`serverless-lock: ${message}\n`);
    process.exit(1);
  });
}

/** What a terminal would take for a command, or would turn the text around, is escaped. */
export function printJson(value: unknown): void {
  const escaped = (unit: string) =>
    printable(unit) === unit ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  print(`${JSON.stringify(value).replace(/[^ -~]/g, escaped)}\n`);
}

/** What an error says, and what is behind it. */
export function errorText(error: Error): string {
  const { message, cause } = error as Error & { cause?: Error };
  const reasons = [cause?.message, (cause?.cause as Error | undefined)?.message].filter(Boolean);
  return error instanceof LockError && reasons.length > 0 ? `${message}: ${reasons.join(": ")}` : message;
}

type Style = "red" | "green" | "yellow" | "dim" | "bold";

/** In colour on a terminal that has some. */
function coloured(style: Style, text: string): string {
  const { stdout, env } = process;
  const wanted = stdout.isTTY && !env.NO_COLOR && env.TERM !== "dumb";
  return wanted ? styleText(style, text, { validateStream: false }) : text;
}

/** A duration for people: `450 ms`, `12.3 s`, `4 min`, `3.5 h`. */
export function durationText(ms: number | undefined): string {
  if (ms === undefined) return "no end";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}

/** How wide a terminal shows a text: most scripts but the first ones take two columns a character. */
function columnsOf(text: string): number {
  return [...text].reduce((sum, each) => sum + ((each.codePointAt(0) as number) < 0x1100 ? 1 : 2), 0);
}

/** A line cut to so many columns of a terminal. What gives it colour takes none. */
export function cutLine(line: string, columns: number): string {
  let left = columns;
  return line.replace(/\p{Cc}\[\d+m|./gsu, (part) => {
    if (part.startsWith("\u001b")) return part;
    left -= columnsOf(part);
    return left < 0 ? "" : part;
  });
}

/** A longer cell moves its own row alone: a key may have 1,024 characters. */
const widestColumn = 40;

/** Lines of a table, two blanks between its columns. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>(
    (most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, Math.min(columnsOf(cell), widestColumn))),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, i) => cell + " ".repeat(Math.max(0, (widths[i] as number) - columnsOf(cell))))
      .join("  ")
      .trimEnd(),
  );
}

/** What `list` and `watch` say of a lock in a word. */
export function stateText({ state, paused, holders }: Inspection): string {
  const [first] = holders;
  const word = state === "held" && holders.every(({ kept }) => kept) ? "kept" : state;
  return [word, first?.ended ? "ending" : "", paused ? "paused" : ""].filter(Boolean).join(", ");
}

const colours: Record<string, Style> = { free: "green", held: "yellow", kept: "dim", foreign: "red" };

function colouredState(lock: Inspection): string {
  const text = stateText(lock);
  return coloured(colours[/^\w+/.exec(text)?.[0] ?? ""] ?? "bold", text);
}

export function ownerText({ owner }: { owner: string | undefined }): string {
  return owner === undefined ? "-" : printable(owner);
}

/** `exclusive`, `shared`, `permit 2 of 5`. */
function modeText({ mode, weight }: Holder | Waiter, limit: number | undefined): string {
  return mode === "permit" ? `permit ${weight} of ${limit}` : mode;
}

/** All there is to say of a lock. */
export function describeLock(lock: Inspection, now: number): string[] {
  const { key, limit, limitBy, holders, waiters, fence } = lock;
  const facts = [
    `${coloured("bold", printable(key))}  ${colouredState(lock)}`,
    limit === undefined ? "" : `limit ${limit}${limitBy === "operator" ? ", set by an operator" : ""}`,
    fence === undefined ? "" : `last fencing token ${fence}`,
  ];
  const since = (ms: number | undefined) => (ms === undefined ? "-" : durationText(now - ms));
  const held = holders.map((holder) => [
    ...[ownerText(holder), modeText(holder, limit), since(holder.since), durationText(holder.remaining)],
    holder.ended ? "ended by an operator" : holder.kept ? "kept" : "",
  ]);
  const waiting = waiters.map((waiter) => [
    ...[`${waiter.place}`, ownerText(waiter), modeText(waiter, limit), since(waiter.since)],
  ]);
  return [
    ...facts.filter(Boolean),
    ...(held.length > 0 ? ["", ...table([["HOLDER", "MODE", "FOR", "LEASE LEFT", ""], ...held])] : []),
    ...(waiting.length > 0 ? ["", ...table([["PLACE", "WAITER", "MODE", "FOR"], ...waiting])] : []),
  ];
}
