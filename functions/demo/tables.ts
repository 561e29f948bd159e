import type { Meter } from "serverless-lock/dev";
import { type Charge, gotIn, turnedAway } from "./charges.ts";

export function chargesTable(charges: Charge[]): string {
  const rows = charges.map((charge, i) => [
    `${i + 1}`,
    `${charge.status}`,
    charge.retryAfter ? `${charge.retryAfter} s` : "",
    `${charge.ms}`,
    gotIn(charge) ? "got in" : turnedAway(charge) ? "turned away" : charge.body,
  ]);
  return table(["#", "status", "Retry-After", "ms", ""], rows, "rrrrl");
}

export function costTable(costs: Record<string, Meter>): string {
  const rows = Object.entries(costs).map(([what, { requests, commands, byCommand }]) => [
    what,
    `${requests}`,
    `${commands}`,
    names(byCommand),
  ]);
  return table(["", "requests", "commands", ""], rows, "lrrl");
}

export function total({ requests, commands, byCommand }: Meter): string {
  return `${requests} requests, ${commands} billed commands${commands ? `: ${names(byCommand)}` : ""}`;
}

function names(byCommand: Meter["byCommand"]): string {
  return Object.entries(byCommand)
    .map(([name, count]) => (count === 1 ? name.toUpperCase() : `${count} ${name.toUpperCase()}`))
    .join(", ");
}

/** @param align one letter a column: l or r */
function table(head: string[], rows: string[][], align: string): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: string[]) =>
    row.map((cell, i) => (align[i] === "r" ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)));
  return all.map((row) => `  ${line(row).join("   ").trimEnd()}\n`).join("");
}
