// Looks at the site in a real browser: every page by axe, in light and dark; search; the playground under its reader's
// hands. `npm run browser`, after `npm run build`. CHROMIUM says where the browser is.
import { existsSync, globSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, chromium, type Page } from "playwright-core";

const { values: args } = parseArgs({ options: { screenshot: { type: "string" } } });
const dist = fileURLToPath(new URL(".vitepress/dist/", import.meta.url));
const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
};

const faults: string[] = [];
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://site");
  const file = join(dist, pathname.endsWith("/") ? `${pathname}index.html` : decodeURIComponent(pathname));
  if (!file.startsWith(dist) || !existsSync(file)) return void response.writeHead(404).end();
  response.setHeader("content-type", types[extname(file)] ?? "application/octet-stream");
  response.end(readFileSync(file));
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address() as { port: number };
const site = `http://127.0.0.1:${port}`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});

try {
  await weigh(browser);
  await search(browser);
  await play(browser);
  const pages = globSync("**/*.html", { cwd: dist }).filter((path) => path !== "404.html");
  await look(browser, "light", pages.sort());
  // The colours are the same on each page: one of each kind will do.
  await look(browser, "dark", ["index.html", "kinds.html", "options.html", "middy.html", "deploying.html"]);
} finally {
  await browser.close();
  server.close();
}
process.exitCode = faults.length > 0 ? 1 : 0;

function report(fault: string): void {
  faults.push(fault);
  console.error(fault);
}

/** Opens a page and gathers what it complains of. */
async function open(context: Awaited<ReturnType<Browser["newContext"]>>, path: string): Promise<Page> {
  const page = await context.newPage();
  page.on("pageerror", (error) => report(`${path}: ${error}`));
  page.on("console", (message) => {
    if (message.type() === "error") report(`${path}: ${message.text()}`);
  });
  await page.goto(`${site}/${path}`);
  return page;
}

/** What the home page fetches, by what a browser asked for. */
async function weigh(browser: Browser): Promise<void> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const asked = new Set<string>();
  page.on("request", (request) => asked.add(request.url()));
  await page.goto(`${site}/`);
  await page.locator(".playground svg").waitFor();
  await page.waitForLoadState("networkidle");
  const foreign = [...asked].filter((url) => !url.startsWith(site) && !url.startsWith("data:"));
  if (foreign.length > 0) report(`the home page asks elsewhere: ${foreign.join(", ")}`);
  console.log(`the home page fetches ${asked.size} files`);
  await context.close();
}

async function look(browser: Browser, colorScheme: "light" | "dark", paths: string[]): Promise<void> {
  const context = await browser.newContext({ colorScheme, reducedMotion: "reduce" });
  let count = 0;
  for (const path of paths) {
    const page = await open(context, path);
    for (const picture of await page.locator(".diagram").all()) await picture.locator("svg").waitFor();
    const { violations } = await new AxeBuilder({ page }).analyze();
    for (const { id, help, nodes } of violations)
      report(`${path}, ${colorScheme}: ${id}: ${help}: ${nodes[0]?.html.slice(0, 160)}`);
    count++;
    await page.close();
  }
  console.log(`axe looked at ${count} pages, ${colorScheme}`);
  await context.close();
}

async function search(browser: Browser): Promise<void> {
  const context = await browser.newContext();
  const page = await open(context, "");
  await page.getByRole("button", { name: "Search" }).first().click();
  await page.getByRole("searchbox").or(page.locator("#localsearch-input")).first().fill("fencing token");
  await page.locator("#localsearch-list li, .results li").first().waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(/\.html/);
  console.log(`search for "fencing token" leads to ${new URL(page.url()).pathname}`);
  await context.close();
}

/** Crashes the holder and sees another get the lock, with never two at once. */
async function play(browser: Browser): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 1400 } });
  const page = await open(context, "");
  const figures = page.locator(".figures");
  const taken = async () => Number(/locks taken\s*(\d+)/.exec((await figures.textContent()) ?? "")?.[1]);
  await figures.waitFor();
  const first = await taken();
  await page.waitForFunction(
    (before) => Number(document.querySelectorAll(".figures dd")[1]?.textContent) > before,
    first,
  );
  const crash = page.getByRole("button", { name: /^Crash client \d+, which holds the lock/ });
  await crash.first().click();
  const after = await taken();
  await page.waitForFunction(
    (before) => Number(document.querySelectorAll(".figures dd")[1]?.textContent) > before + 1,
    after,
  );
  if (args.screenshot) await page.screenshot({ path: args.screenshot });
  const most = await page.locator(".figures dd").first().textContent();
  if (most !== "1 of 1") report(`the playground says that at most ${most} were in at once`);
  await page.getByLabel("What is locked").selectOption("permits");
  await page.waitForFunction(() => document.querySelector(".figures dd")?.textContent === "2 of 2");
  console.log("the playground plays, survives a crash, and lets two permits in");
  await context.close();
}
