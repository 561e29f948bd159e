import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, test, vi } from "vitest";
import { inspect } from "../../src/admin/index.ts";
import { createLocker, type Locker, LockOptionError } from "../../src/index.ts";
import { lockPage, type PageAction, type PageOptions } from "../../src/page/index.ts";
import { memoryLocker } from "../../src/testing/index.ts";

afterEach(() => vi.restoreAllMocks());

const at = "https://app.example/locks";
const own = { "content-type": "application/json", "x-serverless-lock": "page" };

function post(body: unknown, headers: Record<string, string> = own): Request {
  return new Request(at, { method: "POST", headers, body: JSON.stringify(body) });
}

function open(options: Partial<PageOptions> = {}) {
  const locker = memoryLocker({ ttl: "1m" });
  return { locker, page: lockPage({ locker, authorize: () => true, ...options }) };
}

test("without authorize everything is refused", async () => {
  const locker = memoryLocker();
  const page = lockPage({ locker });
  const lock = await locker.acquire("a");
  const all = [new Request(at), new Request(`${at}?data`), post({ action: "release", key: "a" })];
  for (const request of all) expect((await page(request)).status).toBe(403);
  expect(await lock.extend()).toBe(true);
});

test("authorize is asked what and for which key, and nothing but true lets in", async () => {
  const asked: PageAction[] = [];
  const { page } = open({ authorize: (_, what) => asked.push(what) > 0 });
  await page(new Request(at));
  for (const body of [
    { action: "release", key: "a" },
    { action: "limit", key: "a", limit: 2 },
    { action: "pause", key: "a" },
    { action: "unpause", key: "a" },
  ])
    expect((await page(post(body))).status).toBe(200);
  expect(asked.map(({ action, key }) => [action, key])).toEqual([
    ["see", undefined],
    ...["release", "limit", "pause", "pause"].map((action) => [action, "a"]),
  ]);
  const truthy = open({ authorize: (() => "yes") as unknown as () => boolean });
  expect((await truthy.page(new Request(at))).status).toBe(403);
});

test("an authorize that fails lets nobody in", async () => {
  const told = vi.spyOn(console, "error").mockImplementation(() => {});
  const { page } = open({ authorize: () => Promise.reject(new Error("no session store")) });
  const answer = await page(new Request(at));
  expect(answer.status).toBe(500);
  expect(await answer.text()).not.toContain("session store");
  expect(told).toHaveBeenCalled();
});

test("authorize may read the request's body", async () => {
  const { locker, page } = open({
    authorize: async (request) => request.method !== "POST" || (await request.json()).key === "a",
  });
  await locker.acquire("a");
  expect((await page(post({ action: "pause", key: "a" }))).status).toBe(200);
  expect((await page(post({ action: "pause", key: "b" }))).status).toBe(403);
});

test("the page is one small response with a strict policy", async () => {
  const { page } = open();
  const answer = await page(new Request(at));
  const text = await answer.text();
  expect(gzipSync(text).length).toBeLessThan(30_000);
  const policy = answer.headers.get("content-security-policy") ?? "";
  const [, nonce = ""] = /script-src 'nonce-([^']+)'/.exec(policy) ?? [];
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy).not.toContain("unsafe");
  expect(text.match(/<script[^>]*>/g)).toEqual([`<script nonce="${nonce}">`]);
  expect(text).not.toMatch(/(src|href)="(?!data:)/);
  const again = await page(new Request(at));
  expect(again.headers.get("content-security-policy")).not.toBe(policy);
});

test("a lock that SCAN finds twice is shown once", async () => {
  const locker = memoryLocker({ ttl: "1m" });
  await locker.acquire("a");
  const twice: Locker["run"] = (operation) =>
    locker.run((door) =>
      operation({
        ...door,
        async ask(key, command, ...rest) {
          const [next, names] = (await door.ask(key, command, ...rest)) as [string, string[]];
          return command[1] === "0" ? ["7", names] : [next, names];
        },
      }),
    );
  const { page } = open({ locker: { ...locker, run: twice } });
  const { locks } = await (await page(new Request(`${at}?data`))).json();
  expect(locks.map(({ key }: { key: string }) => key)).toEqual(["a"]);
});

test("the data holds no token", async () => {
  const { locker, page } = open();
  const lock = await locker.acquire("order:42", { owner: "me" });
  const answer = await page(new Request(`${at}?data`));
  const text = await answer.text();
  expect(JSON.parse(text)).toMatchObject({ locks: [{ key: "order:42" }], more: false, requests: 2 });
  expect(text).not.toContain(lock.token);
});

describe("no other site can steer", () => {
  test.each<[string, Record<string, string>]>([
    ["a form", { "content-type": "text/plain" }],
    ["a request without the page's header", { "content-type": "application/json" }],
    ["a cross-site request", { ...own, "sec-fetch-site": "cross-site" }],
    ["a same-site request of another host", { ...own, "sec-fetch-site": "same-site" }],
    ["another origin", { ...own, origin: "https://evil.example" }],
    ["an origin of none", { ...own, origin: "null" }],
  ])("by %s", async (_, headers) => {
    const { locker, page } = open();
    const lock = await locker.acquire("a");
    expect((await page(post({ action: "release", key: "a" }, headers))).status).toBe(403);
    expect(await lock.extend()).toBe(true);
  });

  test("and none is told that it may ask", async () => {
    const { page } = open();
    for (const method of ["OPTIONS", "PUT", "DELETE"])
      expect((await page(new Request(at, { method }))).status).toBe(405);
    const answer = await page(new Request(`${at}?data`, { headers: { origin: "https://evil.example" } }));
    expect(answer.headers.get("access-control-allow-origin")).toBe(null);
  });

  test("the page itself can", async () => {
    const { locker, page } = open();
    await locker.acquire("a");
    const headers = { ...own, "sec-fetch-site": "same-origin", origin: "https://app.example" };
    const answer = await page(post({ action: "release", key: "a", now: true }, headers));
    expect(await answer.json()).toEqual({ released: true, freeWithin: 0 });
    expect(await inspect(locker, "a")).toMatchObject({ state: "free" });
  });
});

test.each([
  undefined,
  "text",
  { action: "release" },
  { action: "burn", key: "a" },
  { action: "limit", key: "a", limit: "5" },
  { action: "limit", key: "a", limit: 0 },
  { action: "release", key: "" },
])("what is no action is refused: %j", async (body) => {
  const { page } = open();
  expect((await page(post(body))).status).toBe(400);
});

test("only the path it is mounted at is the page", async () => {
  const { page } = open({ prefix: "/locks" });
  expect((await page(new Request(at))).status).toBe(200);
  expect((await page(new Request(`${at}/`))).status).toBe(200);
  for (const path of ["/", "/locks/more", "/locksmith"])
    expect((await page(new Request(new URL(path, at)))).status).toBe(404);
});

test.each(["/my locks", "/schlösser/", "/a/../locks", "//locks", "/"])(
  "a path is compared as a browser sends it: %j",
  async (prefix) => {
    const { page } = open({ prefix });
    expect((await page(new Request(`https://app.example${prefix}`))).status).toBe(200);
    expect((await page(new Request("https://app.example/other"))).status).toBe(404);
  },
);

test("a Redis that cannot be asked is 503, and the log says why", async () => {
  const told = vi.spyOn(console, "error").mockImplementation(() => {});
  const locker = createLocker({ url: "http://127.0.0.1:9", token: "t", requestTimeout: 100 });
  const page = lockPage({ locker, authorize: () => true });
  expect((await page(new Request(`${at}?data`))).status).toBe(503);
  expect(told).toHaveBeenCalledWith(expect.objectContaining({ cause: expect.any(Error) }));
});

test("a locker that finds no variables is the server's fault: 500, and the log says why", async () => {
  const told = vi.spyOn(console, "error").mockImplementation(() => {});
  for (const name of ["UPSTASH_REDIS_REST_URL", "KV_REST_API_URL"]) vi.stubEnv(name, undefined);
  const page = lockPage({ locker: createLocker(), authorize: () => true });
  const answer = await page(new Request(`${at}?data`));
  expect(answer.status).toBe(500);
  expect(await answer.text()).not.toContain("URL");
  expect(told).toHaveBeenCalledWith(expect.any(LockOptionError));
  vi.unstubAllEnvs();
});

test.each([{ locker: {} }, { authorize: true }, { prefix: "locks" }, { prefix: "/a?b" }, { prefix: "/a#b" }])(
  "a wrong option is refused: %j",
  (wrong) => {
    expect(() => lockPage({ locker: memoryLocker(), ...(wrong as object) })).toThrow(LockOptionError);
  },
);
