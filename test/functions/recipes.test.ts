import { readFileSync } from "node:fs";
import { type DevServer, startDevServer } from "serverless-lock/dev";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { handler as ask } from "../../functions/ask.ts";
import { GET, PUT } from "../../functions/catalogue.ts";
import { handler as mail } from "../../functions/mail.ts";
import { handler as transfer } from "../../functions/transfer.ts";
import { lambda } from "../helpers/lambda.ts";
import { type Provider, startProvider } from "./provider.ts";

let dev: DevServer;
let provider: Provider;

beforeAll(async () => {
  dev = await startDevServer();
  // The functions read where Redis is when they first need it.
  vi.stubEnv("UPSTASH_REDIS_REST_URL", dev.url);
  vi.stubEnv("UPSTASH_REDIS_REST_TOKEN", dev.token);
});

beforeEach(async () => {
  provider = await startProvider();
  vi.stubEnv("PROVIDER_URL", provider.url);
});

afterEach(() => provider.close());

afterAll(async () => {
  vi.unstubAllEnvs();
  await dev.close();
});

const times = <T>(count: number, run: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, index) => run(index)));

describe("at most five calls to a provider", () => {
  test("twenty ask at once, five are served at a time, and all get their answer", async () => {
    const go = provider.hold();
    const all = times(20, (index) => ask({ prompt: `question ${index}` }, lambda()));
    await vi.waitFor(() => expect(provider.busy()).toBe(5), 20_000);
    go();
    const answers = await all;
    expect(answers.map(({ answer }) => answer)).toEqual(answers.map((_, index) => `question ${index}`));
    expect(provider.busiest()).toBe(5);
  });
});

describe("50 a minute", () => {
  test("fifty are sent, and the next finds no room as long as its function may run", async () => {
    await times(50, (index) => mail({ to: `reader${index}@example.com` }, lambda()));
    const late = mail({ to: "late@example.com" }, lambda(1_500));
    await expect(late).rejects.toMatchObject({ code: "LOCK_BUSY", statusCode: 423 });
  });
});

describe("one writer and many readers", () => {
  const url = "https://example.com/catalogue";
  const write = (body: string) => PUT(new Request(url, { method: "PUT", body }));
  const read = async () => (await GET(new Request(url))).json();

  test("readers are served together", async () => {
    await write("first");
    const go = provider.hold();
    const all = times(4, read);
    await vi.waitFor(() => expect(provider.busy()).toBe(8), 20_000);
    go();
    await all;
  });

  test("nobody reads an edition at half of its work", async () => {
    await write("first");
    const [seen] = await Promise.all([
      times(6, read),
      times(3, (index) => write(`edition ${index}`)),
      times(6, read),
    ]);
    for (const { first, second } of seen) expect(first).toBe(second);
  });
});

describe("a transfer between two accounts", () => {
  test("transfers to and fro, at once, lose no money and do not wait for each other for ever", async () => {
    provider.kept.set("/accounts/anna", "1000").set("/accounts/ben", "1000");
    const [to, fro] = [
      { from: "anna", to: "ben", amount: 30 },
      { from: "ben", to: "anna", amount: 10 },
    ];
    const moved = await times(10, (index) => transfer(index % 2 ? to : fro, lambda()));
    expect(moved.map((each) => each.moved)).toEqual(moved.map((_, index) => (index % 2 ? 30 : 10)));
    expect(provider.kept.get("/accounts/anna")).toBe("900");
    expect(provider.kept.get("/accounts/ben")).toBe("1100");
  });

  test("none is made that the account does not cover", async () => {
    provider.kept.set("/accounts/anna", "5").set("/accounts/ben", "0");
    expect(await transfer({ from: "anna", to: "ben", amount: 10 }, lambda())).toEqual({ moved: 0 });
  });
});

test.each(["ask", "mail", "catalogue", "transfer"])("the page of recipes shows %s.ts as it is", (name) => {
  const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
  expect(read("docs/recipes.md")).toContain(`\`\`\`ts\n// ${name}.ts\n${read(`functions/${name}.ts`)}\`\`\``);
});
