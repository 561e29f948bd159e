// Checks the site that was built: every link leads somewhere, and the home page is light.
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = fileURLToPath(new URL(".vitepress/dist/", import.meta.url));
const base = process.env.SITE_BASE ?? "/";
const mostBytes = 150_000;

const faults: string[] = [];
const pages = globSync("**/*.html", { cwd: dist }).filter((file) => file !== "404.html");
const htmlOf = new Map(pages.map((file) => [file, readFileSync(join(dist, file), "utf8")]));
const idsOf = new Map(
  [...htmlOf].map(([file, html]) => [
    file,
    new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id as string)),
  ]),
);

let links = 0;
for (const [page, html] of htmlOf) {
  for (const [, target = ""] of html.matchAll(/ (?:href|src)="([^"]*)"/g)) {
    const url = target.replaceAll("&amp;", "&");
    if (/^(https:|data:|mailto:)/.test(url)) continue;
    links++;
    const [path = "", anchor = ""] = url.split("#");
    const file = fileOf(page, path);
    if (!file) faults.push(`${page} has a link to ${url}, where nothing is`);
    else if (anchor && !idsOf.get(file)?.has(decodeURIComponent(anchor)))
      faults.push(`${page} has a link to ${url}, and ${file} has no such heading`);
  }
}

const home = htmlOf.get("index.html") ?? "";
const weight = [...loadedBy("index.html")].map((file) => ({ file, bytes: gzipped(file) }));
const total = weight.reduce((sum, { bytes }) => sum + bytes, 0);
if (total > mostBytes)
  faults.push(`the home page weighs ${total} bytes gzipped, at most ${mostBytes} are wanted`);
if (!home.includes("playground")) faults.push("the home page has no playground");
for (const file of ["llms.txt", "llms-full.txt"])
  if (!existsSync(join(dist, file))) faults.push(`there is no ${file}`);

console.log(`${pages.length} pages, ${links} links within the site`);
console.log(
  `home page: ${(total / 1000).toFixed(1)} kB gzipped with the playground, in ${weight.length} files`,
);
for (const fault of faults) console.error(fault);
process.exitCode = faults.length > 0 ? 1 : 0;

/** The file of the site that a link leads to. */
function fileOf(page: string, path: string): string | undefined {
  if (path === "") return page;
  const from = path.startsWith("/") ? path.slice(base.length) : posix.join(posix.dirname(page), path);
  const file = from === "" || from.endsWith("/") ? `${from}index.html` : from;
  const place = join(dist, decodeURIComponent(file));
  return existsSync(place) && statSync(place).isFile() ? file : undefined;
}

/** What a browser fetches for a page: its HTML, and scripts and styles, with what these import in their turn. */
function loadedBy(page: string): Set<string> {
  const loaded = new Set([page]);
  const html = htmlOf.get(page) ?? "";
  const references = [...html.matchAll(/<(?:script|link)\b[^>]*\b(?:src|href)="([^"]+\.(?:js|css))"/g)];
  const playground = globSync("assets/chunks/{Playground,game}*.js", { cwd: dist });
  const styles = globSync("assets/*.css", { cwd: dist });
  const queue = [...references.map(([, target = ""]) => target.slice(base.length)), ...playground, ...styles];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (loaded.has(file) || !existsSync(join(dist, file))) continue;
    loaded.add(file);
    if (!file.endsWith(".js")) continue;
    const code = readFileSync(join(dist, file), "utf8");
    for (const [, target = ""] of code.matchAll(/(?:from|import)\s*"(\.[^"]+\.js)"/g))
      queue.push(relative(dist, join(dist, dirname(file), target)));
  }
  return loaded;
}

function gzipped(file: string): number {
  return gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;
}
