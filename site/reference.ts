// Makes the tables of options and errors in docs/ from the source. `node site/reference.ts --write` puts them there;
// test/docs/reference.test.ts holds the pages to them.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as errors from "../src/errors.ts";
import { rules } from "../src/options/lock-options.ts";

const root = new URL("../", import.meta.url);
const read = (file: string) => readFileSync(new URL(file, root), "utf8");

/** The pages with what was made for them put between their markers `<!-- made:name -->` and `<!-- /made -->`. */
export function pages(): { file: string; text: string }[] {
  const made: Record<string, () => string> = {
    options: () => optionsTable(read("src/api.ts")),
    locker: () => membersTable(read("src/api.ts"), "LockerOptions"),
    errors: () => errorsTable(read("src/errors.ts")),
  };
  return ["docs/options.md", "docs/errors.md"].map((file) => ({
    file,
    text: read(file).replace(
      /<!-- made:(\w+) -->[\s\S]*?<!-- \/made -->/g,
      (_, name: string) => `<!-- made:${name} -->\n\n${made[name]?.()}\n\n<!-- /made -->`,
    ),
  }));
}

function optionsTable(source: string): string {
  const rows = [...members(source, "LockOptions"), ...members(source, "WithLockOptions")].map(
    ({ name, doc }) => {
      const { words, fallback } = split(doc);
      const { fits } = rules[name as keyof typeof rules];
      return [`\`${name}\``, fallback ?? "none", words, code(fits)];
    },
  );
  return table(["option", "default", "meaning", "what fits"], rows);
}

function membersTable(source: string, name: string): string {
  const rows = members(source, name).map((member) => {
    const { words, fallback } = split(member.doc);
    return [`\`${member.name}\``, fallback ?? "none", words];
  });
  return table(["option", "default", "meaning"], rows);
}

function errorsTable(source: string): string {
  const examples = [
    new errors.LockBusyError("k", { retryAfter: 1 }),
    new errors.LockLostError("k", "?"),
    new errors.LockUnavailableError("k", undefined),
    new errors.LockOptionError("option", "this", "that"),
  ];
  const rows = examples.map((error) => {
    const { name, code, statusCode, expose } = error;
    const [, doc = "", body = ""] =
      new RegExp(
        String.raw`/\*\*((?:(?!\*/)[\s\S])*)\*/\nexport class ${name} extends LockError \{([\s\S]*?)\n {2}constructor`,
      ).exec(source) ?? [];
    const own = [...body.matchAll(/readonly (\w+)(?:: [^;=]+)?;/g)]
      .map(([, property]) => `\`${property}\``)
      .filter((property) => !/`(code|statusCode|key|expose)`/.test(property));
    const headers = Object.keys(error.headers).map((header) => `, \`${header}\``);
    return [
      `\`${name}\``,
      `\`${code}\``,
      `${statusCode}${headers.join("")}${expose ? "" : ", not shown"}`,
      prose(doc),
      own.join(", "),
    ];
  });
  return table(["class", "`code`", "HTTP", "when", "also has"], rows);
}

/** The members of an interface, with their docstrings. */
function members(source: string, name: string): { name: string; doc: string }[] {
  const [, body = ""] =
    new RegExp(String.raw`\nexport interface ${name}(?: extends \w+)? \{([\s\S]*?)\n\}`).exec(source) ?? [];
  const found = [...body.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s+(\w+)\?:/g)];
  if (found.length === 0) throw new Error(`src/api.ts has no interface ${name} whose members are documented`);
  return found.map(([, doc = "", member = ""]) => ({ name: member, doc }));
}

function split(doc: string): { words: string; fallback: string | undefined } {
  const [words = "", fallback] = prose(doc).split(/ ?@default /);
  return { words, fallback: fallback?.replace(/^("[^"]*"|\d+|true|false)(?=$| )/, "`$1`") };
}

function prose(doc: string): string {
  return doc
    .replace(/^\s*\*? ?/gm, " ")
    .replace(/\s+/g, " ")
    .trim();
}

function code(text: string): string {
  return text.replace(/"[^"]*"/g, "`$&`");
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const stale = pages().filter(({ file, text }) => read(file) !== text);
  for (const { file, text } of stale) {
    if (process.argv.includes("--write")) writeFileSync(new URL(file, root), text);
    else {
      console.error(`${file} is not what the source says. Run: node site/reference.ts --write`);
      process.exitCode = 1;
    }
  }
}
