import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";

/** Lines of a `.env` file, which a shell can read too. */
export function envLines(variables: Record<string, string>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

/**
 * Writes the variables into a `.env` file for other programs. Its other lines stay. A new file can be read by this user
 * alone; whoever reads it sees one whole state.
 *
 * @throws an Error when the file cannot be read or written.
 */
export function writeEnvFile(path: string, variables: Record<string, string>): void {
  const names = Object.keys(variables);
  const assigned = (line: string) => /^\s*(?:export\s+)?(\w+)\s*=/.exec(line)?.[1] ?? "";
  const { text, mode } = existing(path);
  const others = text.split("\n").filter((line) => !names.includes(assigned(line)));
  const kept = others.join("\n").replace(/\n+$/, "");
  writeFileSync(`${path}.tmp`, `${kept}${kept === "" ? "" : "\n"}${envLines(variables)}`, { mode });
  renameSync(`${path}.tmp`, path);
}

function existing(path: string): { text: string; mode: number } {
  try {
    return { text: readFileSync(path, "utf8"), mode: statSync(path).mode & 0o777 };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { text: "", mode: 0o600 };
    throw error;
  }
}
