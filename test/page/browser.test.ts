import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pause, unpause } from "../../src/admin/index.ts";
import { servePage } from "../../src/cli/page.ts";
import type { Locker } from "../../src/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";
import { wait } from "../helpers/waiter.ts";

const executablePath = "/usr/bin/chromium";

describe.skipIf(!existsSync(executablePath))("the page in a browser", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  });
  afterAll(() => browser?.close());

  async function open(locker: Locker, scheme: "light" | "dark" = "light") {
    const served = await servePage(locker, 0);
    const context = await browser.newContext({ colorScheme: scheme });
    const page = await context.newPage();
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    await page.goto(served.url);
    return {
      page,
      problems,
      async close() {
        await context.close();
        await served.close();
      },
    };
  }
  const rowOf = (page: Page, key: string) => page.locator("#locks tbody tr", { hasText: key });
  const chooseKey = (page: Page, key: string) => page.getByRole("button", { name: key, exact: true }).click();
  const agree = (page: Page) => page.getByRole("button", { name: "Do it" }).click();
  const told = (page: Page, text: string | RegExp) => page.locator("#told", { hasText: text }).waitFor();

  test("holders and waiters appear, and the timeline grows", async () => {
    const locker = memoryLocker({ ttl: "1m" });
    const { page, problems, close } = await open(locker);
    await page.getByText("No locks.").waitFor();
    const lock = await locker.acquire("order:42", { owner: "charge/eu-1" });
    const waiter = wait(locker, "order:42", { owner: "charge/eu-2" });
    await waiter.standing;
    await rowOf(page, "order:42").getByText("charge/eu-1").waitFor();
    await chooseKey(page, "order:42");
    await page.locator("#waiters", { hasText: "charge/eu-2" }).waitFor();
    expect(await page.locator("#timeline rect.holder").count()).toBe(1);
    await lock.release();
    await (await waiter.lock).extend();
    await page.locator("#timeline rect.holder").nth(1).waitFor({ state: "attached" });
    expect(await page.locator("#timeline title").allTextContents()).toEqual([
      expect.stringContaining("charge/eu-1"),
      expect.stringContaining("charge/eu-2"),
    ]);
    await (await waiter.lock).release();
    expect(problems).toEqual([]);
    await close();
  });

  test("a click ends a lock safely: its holder learns it, the next gets it, and never two", async () => {
    const locker = memoryLocker();
    const { page, close } = await open(locker);
    const lock = await locker.acquire("order:42", { ttl: "3s", renew: true });
    const waiter = wait(locker, "order:42");
    await waiter.standing;
    await chooseKey(page, "order:42");
    await page.getByRole("button", { name: "End", exact: true }).click();
    await page.getByText("No two work at once.").waitFor();
    await agree(page);
    await told(page, "Ended: free within");
    const next = await waiter.lock;
    expect([lock.held, next.held]).toEqual([false, true]);
    expect(lock.signal.reason).toMatchObject({ message: expect.stringContaining("an operator") });
    await next.release();
    await close();
  });

  test("limits and pauses", async () => {
    const locker = memoryLocker({ ttl: "1m" });
    const { page, close } = await open(locker);
    await locker.acquire({ key: "api", limit: 5 });
    await chooseKey(page, "api");
    await page.getByRole("button", { name: "Pause" }).click();
    await agree(page);
    await told(page, "Paused.");
    expect(await locker.tryAcquire({ key: "api", limit: 5 })).toBe(null);
    await page.getByRole("button", { name: "Unpause" }).click();
    await agree(page);
    await told(page, "Unpaused.");
    await page.getByLabel("Limit").fill("1");
    await page.getByRole("button", { name: "Set" }).click();
    await agree(page);
    await told(page, "Limit 1.");
    expect(await locker.tryAcquire({ key: "api", limit: 5 })).toBe(null);
    await close();
  });

  test("who may not steer is told so", async () => {
    const locker = memoryLocker({ ttl: "1m" });
    const { lockPage } = await import("../../src/page/index.ts");
    const handler = lockPage({ locker, authorize: (_, { action }) => action === "see" });
    const server = createServer(async (incoming, outgoing) => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const { method = "GET", headers, url = "/" } = incoming;
      const body = method === "POST" ? Buffer.concat(chunks) : null;
      const init = { method, headers: headers as Record<string, string>, body };
      const response = await handler(new Request(`http://${headers.host}${url}`, init));
      outgoing.writeHead(response.status, Object.fromEntries(response.headers)).end(await response.text());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const lock = await locker.acquire("a");
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await chooseKey(page, "a");
    await page.getByRole("button", { name: "End now" }).click();
    await agree(page);
    await told(page, "Refused: You may not do that");
    expect(await lock.extend()).toBe(true);
    await page.close();
    server.closeAllConnections();
    server.close();
  });

  test("keys and owners are text, never markup; search finds both", async () => {
    const locker = memoryLocker({ ttl: "1m" });
    const markup = "<img src=x onerror=document.title='hacked'>";
    await locker.acquire(markup, { owner: "<b>bold</b>" });
    await locker.acquire("other", { owner: "somebody" });
    const { page, problems, close } = await open(locker);
    await rowOf(page, markup).waitFor();
    await chooseKey(page, markup);
    await page.locator("#holders", { hasText: "<b>bold</b>" }).waitFor();
    expect(await page.locator("main img, main b").count()).toBe(0);
    expect(await page.title()).toBe("Locks");
    await page.getByLabel("Search").fill("SOMEBODY");
    await rowOf(page, markup).waitFor({ state: "detached" });
    expect(await rowOf(page, "other").count()).toBe(1);
    expect(problems).toEqual([]);
    await close();
  });

  test("what is no data, such as a login, is told, and the next look is live again", async () => {
    const locker = memoryLocker({ ttl: "1m" });
    await locker.acquire("a");
    const { page, problems, close } = await open(locker);
    await rowOf(page, "a").waitFor();
    const status = page.locator("#status");
    const login = { status: 200, contentType: "text/html", body: "<h1>Log in</h1>" };
    const answers = [
      [login, "Not live: status 200, and no data"],
      [{ ...login, status: 502 }, "Not live: status 502, and no data"],
      [{ status: 401, json: { message: "who are you?" } }, "Not live: status 401"],
      [{ status: 503, json: { error: "Redis is away" } }, "Not live: Redis is away"],
    ] as const;
    for (const [answer, text] of answers) {
      await page.route("**/*?data", (route) => route.fulfill(answer));
      await status.getByText(text).waitFor();
      await page.unroute("**/*?data");
      await status.getByText("1 locks").waitFor();
    }
    expect(problems.filter((problem) => !problem.startsWith("Failed to load resource"))).toEqual([]);
    await close();
  });

  test("an answer to its question ends nobody who came meanwhile", async () => {
    const locker = memoryLocker({ ttl: "1m" });
    const shown = await locker.acquire("a", { owner: "first" });
    const { page, close } = await open(locker);
    await chooseKey(page, "a");
    await page.locator("#holders", { hasText: "first" }).waitFor();
    await page.getByRole("button", { name: "End now" }).click();
    await shown.release();
    const next = await locker.acquire("a", { owner: "second" });
    await page.locator("#holders", { hasText: "second" }).waitFor();
    await agree(page);
    await told(page, "Its holders have gone by themselves: nothing was ended.");
    expect(await next.extend()).toBe(true);
    await close();
  });

  test("nor where nobody held it when it was asked", async () => {
    const locker = memoryLocker({ ttl: "1m" });
    await pause(locker, "a");
    const { page, close } = await open(locker);
    await chooseKey(page, "a");
    await page.getByRole("button", { name: "End now" }).click();
    await unpause(locker, "a");
    const next = await locker.acquire("a", { owner: "second" });
    await page.locator("#holders", { hasText: "second" }).waitFor();
    await agree(page);
    await told(page, "Nobody held it: nothing was ended.");
    expect(await next.extend()).toBe(true);
    await close();
  });

  test("nothing is asked while nobody looks", async () => {
    const served = await servePage(memoryLocker(), 0);
    const page = await browser.newPage();
    let asked = 0;
    page.on("request", (request) => {
      if (request.url().endsWith("?data")) asked++;
    });
    await page.clock.install();
    await page.goto(served.url);
    const look = async (hidden: boolean) => {
      await page.evaluate((value) => {
        Object.defineProperty(document, "hidden", { value, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    };
    await page.getByText("No locks.").waitFor();
    await look(true);
    const before = asked;
    await page.clock.runFor(600_000);
    expect(asked).toBe(before);
    await look(false);
    await expect.poll(() => asked).toBe(before + 1);
    await page.getByLabel("Live").uncheck();
    await page.clock.runFor(600_000);
    expect(asked).toBe(before + 1);
    await page.close();
    await served.close();
  });

  test.each(["light", "dark"] as const)("axe finds no violation, %s", async (scheme) => {
    const locker = memoryLocker({ ttl: "1m" });
    await locker.acquire("order:42", { owner: "me" });
    await locker.acquire({ key: "api", limit: 5 });
    const waiter = wait(locker, "order:42", { owner: "next" });
    await waiter.standing;
    const { page, close } = await open(locker, scheme);
    await chooseKey(page, "order:42");
    await page.locator("#waiters", { hasText: "next" }).waitFor();
    const { violations } = await new AxeBuilder({ page: page as never }).analyze();
    expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
    await close();
  });

  test("a keyboard alone chooses a lock and ends it", async () => {
    const locker = memoryLocker({ ttl: "1m" });
    const lock = await locker.acquire("a");
    const { page, close } = await open(locker);
    await rowOf(page, "a").waitFor();
    await page.getByRole("button", { name: "a", exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "End now" }).focus();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await told(page, "Ended: it is free now.");
    expect(await lock.extend()).toBe(false);
    await close();
  });
});
