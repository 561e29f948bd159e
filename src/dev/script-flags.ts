import type { Rewrite } from "./scripts.ts";

const FIRST_LINE = /^#!lua(?:[ \t]+flags=(?<flags>\S*))?[ \t]*(?=\r?\n|$)/;
/** The flags of scripts and functions: those of Redis, and Upstash's own. */
export const KNOWN_FLAGS: ReadonlySet<string> = new Set([
  ...["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys", "allow-key-locking"],
]);

function flagsOf(text: string): string[] | undefined {
  const line = FIRST_LINE.exec(text);
  return line ? (line.groups?.flags ?? "").split(",").filter((flag) => flag !== "") : undefined;
}

/**
 * Takes the flag `allow-key-locking` out of a script's first line: engines other than Upstash refuse it.
 * The line stays, empty if need be, so that line numbers are right.
 */
export function withoutLockingFlag(text: string): string {
  const flags = flagsOf(text) ?? [];
  const others = flags.filter((flag) => flag !== "allow-key-locking");
  if (others.length === flags.length) return text;
  return text.replace(FIRST_LINE, others.length === 0 ? "" : `#!lua flags=${others.join(",")}`);
}

const isKnown = (text: string) => flagsOf(text)?.every((flag) => KNOWN_FLAGS.has(flag)) ?? false;

/** The embedded engine knows no such line. An unknown flag is left in, for the engine to refuse. */
export const flagsForEmbedded: Rewrite = {
  script: (text) => (isKnown(text) ? text.replace(FIRST_LINE, "") : text),
  library: (text) => text,
  undo: (text) => text,
  onlyReads: (text) => isKnown(text) && (flagsOf(text)?.includes("no-writes") ?? false),
};
