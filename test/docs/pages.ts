import { globSync, readFileSync } from "node:fs";

const root = new URL("../../", import.meta.url);

/** A page of what users read: README and all of docs/. */
export interface Page {
  /** From the root of the repository. */
  file: string;
  text: string;
}

export const pages: Page[] = [
  "README.md",
  "SECURITY.md",
  ...globSync("docs/**/*.md", { cwd: root })
    .map((file) => file.replaceAll("\\", "/"))
    .sort(),
].map((file) => ({ file, text: readFileSync(new URL(file, root), "utf8") }));

/** A page without its code, and without what HTML comments hide. */
export function withoutCode(text: string): string {
  return text
    .replace(/^```[\s\S]*?^```$/gm, "")
    .replace(/<!--[\s\S]*?-->/g, "")
    .replace(/`[^`\n]*`/g, "`code`");
}

/** The names of the headings, as GitHub and the site make them into anchors. */
export function anchors(text: string): Set<string> {
  const seen = new Map<string, number>();
  const headings = text.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, heading = ""]) => {
      const slug = heading
        .toLowerCase()
        .replace(/[^\p{Letter}\p{Number}\s_-]/gu, "")
        .trim()
        .replace(/\s/g, "-");
      const times = seen.get(slug) ?? 0;
      seen.set(slug, times + 1);
      return times ? `${slug}-${times}` : slug;
    }),
  );
}
