// Opens the page in Chromium: screenshots of it for docs/, and how long its longest task takes with 1,000 locks.
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium, type Page } from "playwright-core";
import { servePage } from "../src/cli/page.ts";
import { memoryLocker } from "../src/testing/index.ts";

const help = `Usage: node bench/page.ts [--screenshots]

Opens the page in Chromium with 1,000 locks and 100 waiters, and tells its longest task in ms.

Options:
  --screenshots  Also write docs/page/light.png and docs/page/dark.png
`;
const { values } = parseArgs({
  options: { screenshots: { type: "boolean" }, help: { type: "boolean" } },
});
if (values.help) {
  process.stdout.write(help);
  process.exit();
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  if (values.screenshots) for (const scheme of ["light", "dark"] as const) await screenshot(scheme);
  await measure();
} finally {
  await browser.close();
}
process.exit();

async function screenshot(scheme: "light" | "dark"): Promise<void> {
  const locker = memoryLocker({ ttl: "20s", renew: true });
  const served = await servePage(locker, 0);
  const page = await browser.newPage({ colorScheme: scheme, viewport: { width: 1200, height: 640 } });
  await page.goto(served.url);
  await locker.acquire({ key: "openai", limit: 5, weight: 2 }, { owner: "answers/eu-1" });
  await locker.acquire({ key: "openai", limit: 5 }, { owner: "answers/eu-2" });
  await locker.acquire({ key: "report", mode: "shared" }, { owner: "export" });
  await locker.withLock("nightly@2026-11-27", { holdFor: "6h", owner: "cron" }, () => {});
  const work = (async () => {
    for (let i = 1; i <= 6; i++) {
      const owner = `charge/eu-${i}`;
      locker
        .acquire("order:42", { owner, wait: "1m" })
        .then((lock) => setTimeout(() => lock.release(), 4000));
      await page.waitForTimeout(1500);
    }
  })();
  await page.getByRole("button", { name: "order:42" }).click();
  await work;
  mkdirSync(fileURLToPath(new URL("../docs/page/", import.meta.url)), { recursive: true });
  await page.screenshot({ path: fileURLToPath(new URL(`../docs/page/${scheme}.png`, import.meta.url)) });
  await page.close();
  await served.close();
}

async function measure(): Promise<void> {
  const locker = memoryLocker({ ttl: "5m" });
  for (let i = 0; i < 1000; i++) await locker.acquire(`order:${i}`, { owner: `charge/eu-${i % 7}` });
  for (let i = 0; i < 100; i++) locker.acquire("order:0", { wait: "1h" }).catch(() => {});
  const served = await servePage(locker, 0);
  const page = await browser.newPage();
  const opening = await longestTask(page, async () => {
    await page.goto(served.url);
    await page.locator("tbody tr").nth(39).waitFor({ state: "attached" });
    await page.getByRole("button", { name: "order:0", exact: true }).click();
    await page.locator("#waiters li").nth(99).waitFor({ state: "attached" });
  });
  const live = await longestTask(page, () => page.waitForTimeout(10_000));
  const scrolling = await longestTask(page, async () => {
    // To the last row.
    for (let i = 0; i < 30; i++) {
      await page.locator("#more").scrollIntoViewIfNeeded();
      await page.waitForTimeout(300);
    }
  });
  const rows = await page.locator("tbody tr").count();
  const all = await longestTask(page, () => page.waitForTimeout(5000));
  process.stdout.write(`1,000 locks, 100 waiters: the longest task of the page's main thread, in ms of its own time
opening ${opening}
live for 10 s ${live}
scrolled to ${rows} rows ${scrolling}
live for 5 s with these ${all}
`);
  await page.close();
  await served.close();
}

/** By Chromium's own trace. What else the machine does adds nothing to a thread's own time. */
async function longestTask(page: Page, act: () => Promise<unknown>): Promise<string> {
  await browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline"] });
  await act();
  const trace = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
  const mains = new Set(
    trace.traceEvents
      .filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain")
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const tasks = trace.traceEvents.filter(
    ({ name, pid, tid, tdur }) => /RunTask$/.test(name) && mains.has(`${pid} ${tid}`) && tdur !== undefined,
  );
  if (tasks.length === 0) throw new Error("the trace has no task");
  return (Math.max(...tasks.map(({ tdur = 0 }) => tdur)) / 1000).toFixed(1);
}

/** Of Chromium's trace; times in microseconds. */
interface TraceEvent {
  name: string;
  pid: number;
  tid: number;
  /** The thread's own time. */
  tdur?: number;
  args?: { name?: string };
}
