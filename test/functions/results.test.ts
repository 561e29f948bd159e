import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createLocker } from "serverless-lock";
import { type DevServer, startDevServer } from "serverless-lock/dev";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { lambda } from "../helpers/lambda.ts";
import { hasPostgres, startPostgres } from "../helpers/postgres-server.ts";
import { until } from "../helpers/waiter.ts";

/** Stands for an OAuth provider, a payment provider and a bank. Counts what it was asked, by path. */
const asked = new Map<string, number>();
/** Requests get no answer until this resolves. */
let gate: Promise<void> | undefined;
const provider = createServer(async (request, response) => {
  const path = request.url ?? "";
  const count = (asked.get(path) ?? 0) + 1;
  asked.set(path, count);
  await gate;
  // A refresh token is taken once: a second refresh would make the first one's token void.
  response.end(JSON.stringify({ access_token: `token ${count}`, expires_in: 3600 }));
});

let dev: DevServer;
let postgres: Awaited<ReturnType<typeof startPostgres>> | undefined;

beforeAll(async () => {
  dev = await startDevServer();
  postgres = hasPostgres ? await startPostgres() : undefined;
  await new Promise<void>((resolve) => provider.listen(0, "127.0.0.1", resolve));
  // The functions read where everything is when they first need it.
  vi.stubEnv("UPSTASH_REDIS_REST_URL", dev.url);
  vi.stubEnv("UPSTASH_REDIS_REST_TOKEN", dev.token);
  vi.stubEnv("PROVIDER_URL", `http://127.0.0.1:${(provider.address() as AddressInfo).port}`);
  vi.stubEnv("DATABASE_URL", postgres?.url);
  // The first script takes an embedded Redis long.
  await createLocker({ requestTimeout: "20s" }).withLock({ key: "first", limit: 2 }, async () => {});
});

beforeEach(() => {
  asked.clear();
  gate = undefined;
});

afterAll(async () => {
  vi.unstubAllEnvs();
  provider.closeAllConnections();
  await new Promise((resolve) => provider.close(resolve));
  await postgres?.close();
  await dev.close();
});

/** Holds every request that comes from now on. Returns what lets them go; those that come later pass then. */
function hold(): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  gate = promise;
  return resolve;
}

describe("a token that is refreshed", () => {
  test("twenty callers at once get the token of one refresh, and so does who comes later", async () => {
    const { GET } = await import("../../functions/token.ts");
    const go = hold();
    const callers = Array.from({ length: 20 }, async () => (await GET()).json());
    await until(() => asked.get("/oauth/token"));
    go();
    const tokens = [...(await Promise.all(callers)), await (await GET()).json()];
    expect(tokens).toEqual(Array(21).fill({ token: "token 1" }));
    expect(asked.get("/oauth/token")).toBe(1);
  });
});

describe("a payment with an Idempotency-Key", () => {
  const pay = async (key: string | undefined, body = '{"amount":42}') => {
    const { POST } = await import("../../functions/pay.ts");
    const headers: HeadersInit = key ? { "idempotency-key": key } : {};
    return POST(new Request("https://shop.example/payments", { method: "POST", headers, body }));
  };

  test("that is sent again, at once or later, is made once and answered alike", async () => {
    const answers = await Promise.all([pay("a"), pay("a"), pay("a")]);
    answers.push(await pay("a"));
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201]);
    const replayed = answers.filter(({ headers }) => headers.get("idempotency-replayed") === "true");
    expect(replayed).toHaveLength(3);
    const bodies = await Promise.all(answers.map((answer) => answer.text()));
    expect(new Set(bodies).size).toBe(1);
    expect(asked.get("/payments")).toBe(1);
  });

  test("is refused without a key, and with the key of another payment", async () => {
    await pay("b");
    expect((await pay("b", '{"amount":43}')).status).toBe(422);
    expect((await pay(undefined)).status).toBe(400);
    expect(asked.get("/payments")).toBe(1);
  });
});

describe("a withdrawal that is frozen past its lease", () => {
  test("writes nothing over what another has written meanwhile", async () => {
    const { handler, database: opening } = await import("../../functions/withdraw.ts");
    const database = await opening;
    await database.transaction({ text: "INSERT INTO accounts VALUES ('anna', 100)" });

    const thaw = hold();
    const frozen = handler({ account: "anna", amount: 10 }, lambda());
    const failure = frozen.then(
      () => undefined,
      (error) => error,
    );
    await until(() => asked.get("/payouts"));
    // Nothing in this process runs, the renewal of the lease neither, until the lease is over.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);
    gate = undefined;
    expect(await handler({ account: "anna", amount: 30 }, lambda())).toEqual({ withdrawn: 30 });
    thaw();

    expect(await failure).toMatchObject({ code: "23514", constraint: "stale_fencing_token" });
    expect(await database.rows({ text: "SELECT balance FROM accounts" })).toEqual([{ balance: 70 }]);
    await database.close();
  });
});

test.each(["token", "pay"])("the page of results shows %s.ts as it is", (name) => {
  const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
  expect(read("docs/results.md")).toContain(`\`\`\`ts\n${read(`functions/${name}.ts`)}\`\`\``);
});
