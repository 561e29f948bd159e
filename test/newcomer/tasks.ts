/** One thing that a newcomer wants to do. */
export interface Task {
  name: string;
  /** Of docs/. */
  page: string;
  /** Whose code the page shows. */
  files: string[];
  /** What is there beside it: what a generator makes, and what checks the code. */
  added?: Record<string, string>;
  commands: readonly (readonly string[])[];
}

const esm = { "package.json": '{ "type": "module" }' };
const commonjs = { "package.json": "{}" };

const compilerOptions = {
  ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, noEmit: true },
  ...{ target: "es2022", lib: ["ES2023", "DOM", "DOM.Iterable", "ESNext.Disposable"], skipLibCheck: false },
  allowImportingTsExtensions: true,
};

/** Compiles by the oldest and newer TypeScripts, as Node resolves modules and as bundlers do. */
function compiled(options: object = {}): Pick<Required<Task>, "added" | "commands"> {
  const systems = {
    nodenext: { module: "nodenext", moduleResolution: "nodenext" },
    bundler: { module: "esnext", moduleResolution: "bundler" },
  };
  const added: Record<string, string> = {};
  for (const [name, system] of Object.entries(systems)) {
    added[`tsconfig.${name}.json`] = JSON.stringify({
      compilerOptions: { ...compilerOptions, ...system, types: ["node"], ...options },
      include: ["*.ts", "app", "sveltekit"],
    });
  }
  const compilers = ["typescript-5.5", "typescript", "typescript-7"];
  return {
    added,
    commands: compilers.flatMap((compiler) =>
      Object.keys(systems).map((name) => [
        ...["node", `node_modules/${compiler}/bin/tsc`, "-p", `tsconfig.${name}.json`],
      ]),
    ),
  };
}

const sound = compiled();
/** The oldest and the newest compiler, each with another way to resolve: for what names no other package's types. */
const corners = {
  added: sound.added,
  commands: [sound.commands[0], sound.commands[sound.commands.length - 1]].filter(
    (each) => each !== undefined,
  ),
};
// The declarations of middy, Hono and vitest do not compile themselves in all of these.
const unchecked = compiled({ skipLibCheck: true });

/** The reader's own functions and values: pages name them and do not show them. */
const yours = (names: string[]) =>
  `declare global {\n${names.map((name) => `  const ${name.includes(":") ? name : `${name}: any`};\n`).join("")}}\nexport {};\n`;

/** Runs the code of before and after a move on a local Upstash: the same work is to be done. */
function moved(values: object, expected: string[], meanwhile = ""): string {
  return `import assert from "node:assert/strict";
    import { startDevServer } from "serverless-lock/dev";
    const dev = await startDevServer();
    process.env.UPSTASH_REDIS_REST_URL = dev.url;
    process.env.UPSTASH_REDIS_REST_TOKEN = dev.token;
    const expected = ${JSON.stringify(expected)};
    const done = [];
    for (const name of expected) globalThis[name] = async () => void done.push(name);
    Object.assign(globalThis, { redisUrl: dev.redisUrl }, ${JSON.stringify(values)});
    ${meanwhile}
    await import("./before.ts");
    assert.deepEqual(done.splice(0), expected);
    await import("./after.ts");
    assert.deepEqual(done, expected);
    process.exit(0);`;
}

/** Calls each route, once while another holds its lock. */
const calledRoutes = (calls: Record<string, string>) => `import assert from "node:assert/strict";
  import { lockInMemory } from "serverless-lock/testing";
  ${Object.keys(calls)
    .map((file, index) => `import * as module${index} from "./${file}";`)
    .join("\n")}
  const { locker } = lockInMemory();
  const request = () => new Request("http://shop/orders/42/charge", { method: "POST" });
  const params = { id: "42" };
  for (const charge of [${Object.values(calls)
    .map((call, index) => `() => module${index}.${call}`)
    .join(", ")}]) {
    const first = await charge();
    assert.equal(first.status, 200);
    assert.ok((await first.json()).lockedFor > 0, String(charge));
    const lock = await locker.acquire("order:42");
    assert.equal((await charge()).status, 423, String(charge));
    await lock.release();
  }`;

const routes = {
  "netlify.ts": "default(request(), { params })",
  "sveltekit/+server.ts": "POST({ request: request(), params })",
  "react-router.ts": "action({ request: request(), params })",
  "astro.ts": "POST({ request: request(), params })",
  "h3.ts": "app.fetch(request())",
  "elysia.ts": "app.handle(request())",
};

/** Handlers that name the globals of a runtime are compiled with those alone. */
function compiledFor(runtime: string, lib: string[]): Pick<Required<Task>, "added" | "commands"> {
  const { added, commands } = compiled({ types: [runtime], lib, skipLibCheck: true });
  return { added: { ...esm, ...added }, commands };
}

export const tasks: Task[] = [
  {
    name: "middy on Lambda",
    page: "aws-lambda.md",
    files: ["middy.ts"],
    added: {
      ...esm,
      ...unchecked.added,
      "check.mjs": `import assert from "node:assert/strict";
        import { lockInMemory } from "serverless-lock/testing";
        import { handler } from "./middy.ts";
        const memory = lockInMemory();
        const charge = () => handler({ pathParameters: { id: "42" } }, { getRemainingTimeInMillis: () => 3000 });
        assert.equal((await charge()).statusCode, 200);
        const lock = await memory.locker.acquire("order:42");
        assert.equal((await charge()).statusCode, 423);
        await lock.release();
        assert.equal((await charge()).statusCode, 200);`,
    },
    commands: [...unchecked.commands, ["node", "check.mjs"]],
  },
  {
    name: "middy on Lambda, bundled as CommonJS",
    page: "aws-lambda.md",
    files: ["middy.ts"],
    added: {
      ...commonjs,
      "check.cjs": `const assert = require("node:assert/strict");
        const { lockInMemory } = require("serverless-lock/testing");
        const { handler } = require("./middy.cjs");
        const memory = lockInMemory();
        (async () => {
          const charge = () => handler({ pathParameters: { id: "42" } }, { getRemainingTimeInMillis: () => 3000 });
          assert.equal((await charge()).statusCode, 200);
          memory.fail("busy");
          assert.equal((await charge()).statusCode, 423);
        })();`,
    },
    commands: [
      [
        "esbuild",
        "middy.ts",
        "--bundle",
        "--platform=node",
        "--format=cjs",
        "--outfile=middy.cjs",
        "--log-level=error",
      ],
      ["node", "--no-experimental-require-module", "check.cjs"],
    ],
  },
  {
    name: "AWS' own handler types",
    page: "aws-lambda.md",
    files: ["existing.ts", "orders-queue.ts", "report.ts"],
    added: { ...esm, ...sound.added },
    commands: sound.commands,
  },
  {
    name: "SQS FIFO",
    page: "aws-lambda.md",
    files: ["orders-queue.ts"],
    added: {
      ...esm,
      "check.mjs": `import assert from "node:assert/strict";
        import { lockInMemory } from "serverless-lock/testing";
        import { handler } from "./orders-queue.ts";
        lockInMemory();
        const record = (messageId, MessageGroupId, fails) => ({
          messageId,
          body: JSON.stringify({ order: messageId, fails }),
          eventSourceARN: "arn:aws:sqs:eu-west-1:1:orders.fifo",
          attributes: { MessageGroupId },
        });
        const Records = [record("1", "a"), record("2", "a", true), record("3", "a"), record("4", "b")];
        const { batchItemFailures } = await handler({ Records }, {});
        assert.deepEqual(batchItemFailures.map((each) => each.itemIdentifier).sort(), ["2", "3"]);`,
    },
    commands: [["node", "check.mjs"]],
  },
  {
    name: "EventBridge",
    page: "aws-lambda.md",
    files: ["report.ts"],
    added: {
      ...esm,
      "check.mjs": `import assert from "node:assert/strict";
        import { lockInMemory } from "serverless-lock/testing";
        import { handler } from "./report.ts";
        lockInMemory();
        const told = [];
        console.log = (text) => told.push(text);
        for (const time of ["2026-11-27T00:00:00Z", "2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"])
          await handler({ time }, {});
        assert.deepEqual(told, ["report of 2026-11-27T00:00:00Z", "report of 2026-11-28T00:00:00Z"]);`,
    },
    commands: [["node", "check.mjs"]],
  },
  {
    name: "Next.js, dynamic routes, built without variables",
    page: "nextjs.md",
    files: [
      "app/api/orders/[id]/charge/route.ts",
      "app/api/orders/[id]/refund/route.ts",
      "app/api/report/route.ts",
    ],
    added: {
      "package.json": "{}",
      "app/layout.tsx":
        "export default ({ children }: { children: React.ReactNode }) => <html><body>{children}</body></html>;",
      "app/page.tsx": "export default () => <p>Orders</p>;",
      "next.config.mjs": "export default { outputFileTracingRoot: import.meta.dirname };",
      "next-env.d.ts": '/// <reference types="next" />\n',
      "tsconfig.json": JSON.stringify({
        compilerOptions: {
          ...{ target: "ES2017", lib: ["dom", "dom.iterable", "esnext"], strict: true, noEmit: true },
          ...{ module: "esnext", moduleResolution: "bundler", jsx: "react-jsx", isolatedModules: true },
          ...{ skipLibCheck: true, esModuleInterop: true, resolveJsonModule: true, incremental: true },
          plugins: [{ name: "next" }],
        },
        include: ["next-env.d.ts", "**/*.ts", "**/*.tsx", ".next/types/**/*.ts"],
        exclude: ["node_modules"],
      }),
    },
    commands: [["next", "build", "--webpack"]],
  },
  {
    name: "a Worker with fetch, cron and queue",
    page: "cloudflare.md",
    files: ["worker.ts"],
    added: {
      ...esm,
      ...sound.added,
      "wrangler.json": '{ "name": "worker", "main": "worker.ts", "compatibility_date": "2026-01-01" }',
      "check.mjs": `import assert from "node:assert/strict";
        import { lockInMemory } from "serverless-lock/testing";
        import worker from "./worker.ts";
        const { env, locker } = lockInMemory();
        const ctx = { waitUntil() {} };
        const request = new Request("http://shop/orders/42");
        const response = await worker.fetch(request, env, ctx);
        assert.equal(response.status, 200);
        await response.text();
        const told = [];
        console.log = (text) => told.push(text);
        const tick = { scheduledTime: 1764201600000, cron: "0 0 * * *" };
        await worker.scheduled(tick, env, ctx);
        await worker.scheduled(tick, env, ctx);
        await locker.acquire("order:busy");
        const message = (order) => ({ id: order, body: { order }, ack: () => told.push("ack"), retry: () => told.push("retry") });
        await worker.queue({ queue: "orders", messages: [message("1"), message("busy")] }, env, ctx);
        assert.deepEqual(told.sort(), ["ack", "report of 1764201600000", "retry", "shipped 1"]);`,
    },
    commands: [
      ...sound.commands,
      ["wrangler", "deploy", "--dry-run", "--outdir", "out"],
      ["node", "check.mjs"],
    ],
  },
  {
    name: "Hono on Node",
    page: "hono.md",
    files: ["app.ts", "server.ts"],
    added: {
      ...esm,
      ...unchecked.added,
      "check.mjs": `import assert from "node:assert/strict";
        import { lockInMemory } from "serverless-lock/testing";
        import { app } from "./app.ts";
        const { locker } = lockInMemory();
        const charge = () => app.request("/orders/42/charge", { method: "POST" });
        const lock = await locker.acquire("order:42");
        const waiting = charge();
        await lock.release();
        assert.equal((await (await waiting).json()).order, "42");`,
    },
    commands: [...unchecked.commands, ["node", "check.mjs"]],
  },
  {
    name: "unit tests in vitest",
    page: "testing.md",
    files: ["charge.ts", "charge.test.ts", "spy.test.ts"],
    added: { ...esm, ...unchecked.added },
    commands: [...unchecked.commands, ["vitest", "run"]],
  },
  {
    name: "unit tests in Jest",
    page: "testing.md",
    files: ["charge.test.js"],
    added: commonjs,
    commands: [["jest"]],
  },
  {
    name: "unit tests in node:test",
    page: "testing.md",
    files: ["charge-node.test.ts"],
    added: { ...esm, ...sound.added },
    commands: [...sound.commands, ["node", "--test"]],
  },
  {
    name: "routes of Netlify, SvelteKit, React Router, Astro, h3 and Elysia",
    page: "fetch.md",
    files: Object.keys(routes),
    added: { ...esm, ...unchecked.added, "check.mjs": calledRoutes(routes) },
    commands: [["node", "check.mjs"], ...unchecked.commands],
  },
  { name: "a route of Bun", page: "fetch.md", files: ["bun.ts"], ...compiledFor("bun", ["ESNext"]) },
  {
    name: "a route of Deno",
    page: "fetch.md",
    files: ["deno.ts"],
    ...compiledFor("deno", ["ESNext", "DOM"]),
  },
  {
    name: "a move from @upstash/lock",
    page: "from-upstash-lock.md",
    files: ["before.ts", "after.ts"],
    added: {
      ...esm,
      "check.mjs": moved(
        { order: "42" },
        ["ship", "invoice"],
        `import { createLocker } from "serverless-lock";
        const { ship } = globalThis;
        globalThis.ship = async () => {
          assert.equal(await createLocker().tryAcquire("order:42"), null);
          await ship();
        };`,
      ),
    },
    commands: [["node", "check.mjs"]],
  },
  {
    name: "a move from redlock",
    page: "from-redlock.md",
    files: ["before.ts", "after.ts"],
    added: {
      ...esm,
      "check.mjs": moved({ from: "anna", to: "ben", amount: 5 }, ["withdraw", "deposit", "buildReport"]),
    },
    commands: [["node", "check.mjs"]],
  },
  {
    name: "a move from redis-semaphore",
    page: "from-redis-semaphore.md",
    files: ["before.ts", "after.ts"],
    added: { ...esm, "check.mjs": moved({ order: "42", prompt: "?" }, ["ship", "ask"]) },
    commands: [["node", "check.mjs"]],
  },
  {
    name: "permits, readers and a writer, two accounts",
    page: "recipes.md",
    files: ["ask.ts", "mail.ts", "catalogue.ts", "transfer.ts"],
    added: {
      ...esm,
      ...corners.added,
      "check.mjs": `import assert from "node:assert/strict";
        import { createServer } from "node:http";
        import { once } from "node:events";
        let [now, most] = [0, 0];
        const kept = new Map([["/accounts/anna", "10"], ["/accounts/ben", "0"]]);
        const provider = createServer(async (request, response) => {
          most = Math.max(most, ++now);
          const body = await new Response(request).text();
          await new Promise((resolve) => setTimeout(resolve, 20));
          if (request.method === "PUT") kept.set(request.url, body);
          now--;
          response.end(kept.get(request.url) ?? "answer");
        }).listen(0, "127.0.0.1");
        await once(provider, "listening");
        process.env.PROVIDER_URL = "http://127.0.0.1:" + provider.address().port;
        const { lockInMemory } = await import("serverless-lock/testing");
        const memory = lockInMemory();
        const context = { getRemainingTimeInMillis: () => 30_000 };
        const ask = await import("./ask.ts");
        const answers = await Promise.all(Array.from({ length: 12 }, () => ask.handler({ prompt: "?" }, context)));
        assert.equal(answers.length, 12);
        assert.equal(most, 5);
        const mail = await import("./mail.ts");
        assert.deepEqual(await mail.handler({ to: "anna" }, context), { sent: "anna" });
        const catalogue = await import("./catalogue.ts");
        const written = await catalogue.PUT(new Request("http://shop/catalogue", { method: "PUT", body: "new" }));
        assert.equal(written.status, 204);
        const read = await Promise.all([1, 2].map(() => catalogue.GET(new Request("http://shop/catalogue"))));
        for (const each of read) assert.deepEqual(await each.json(), { first: "new", second: "new" });
        const transfer = await import("./transfer.ts");
        const move = { from: "anna", to: "ben", amount: 7 };
        assert.deepEqual(await transfer.handler(move, context), { moved: 7 });
        assert.deepEqual([kept.get("/accounts/anna"), kept.get("/accounts/ben")], ["3", "7"]);
        memory.restore();
        provider.close();`,
    },
    commands: [...corners.commands, ["node", "check.mjs"]],
  },
  {
    name: "one refresh for all, and a payment with an Idempotency-Key",
    page: "results.md",
    files: ["token.ts", "charge.ts"],
    added: {
      ...esm,
      ...corners.added,
      "yours.d.ts": yours(["refreshToken", "charge"]),
      "check.mjs": `import assert from "node:assert/strict";
        import { lockInMemory } from "serverless-lock/testing";
        import { POST } from "./charge.ts";
        import { tokenOf } from "./token.ts";
        lockInMemory();
        let refreshed = 0;
        globalThis.refreshToken = async (account) => ({ account, token: ++refreshed });
        const tokens = await Promise.all(Array.from({ length: 20 }, () => tokenOf(42)));
        assert.equal(refreshed, 1);
        for (const each of tokens) assert.deepEqual(each, { account: 42, token: 1 });
        let charged = 0;
        globalThis.charge = async ({ order }) => ({ order, charged: ++charged });
        const pay = (order, headers = { "idempotency-key": "a" }) =>
          POST(new Request("http://shop/charge", { method: "POST", headers, body: JSON.stringify({ order }) }));
        const first = await pay("1");
        const again = await pay("1");
        assert.equal(again.headers.get("idempotency-replayed"), "true");
        assert.equal(await again.text(), await first.text());
        assert.equal(charged, 1);
        assert.equal((await pay("2")).status, 422);
        assert.equal((await pay("1", {})).status, 400);`,
    },
    commands: [...corners.commands, ["node", "check.mjs"]],
  },
  {
    name: "a stale holder cannot write to Postgres or Redis",
    page: "fencing.md",
    files: ["migration.ts", "withdraw.ts", "withdraw-redis.ts"],
    added: {
      ...esm,
      ...corners.added,
      "yours.d.ts": yours(["postgres", "redis", 'locker: import("serverless-lock").Locker', "id", "amount"]),
      "check.mjs": `import assert from "node:assert/strict";
        import { PGlite } from "@electric-sql/pglite";
        import { Redis } from "@upstash/redis";
        import { createLocker } from "serverless-lock";
        import { startDevServer } from "serverless-lock/dev";
        import { postgresFence } from "serverless-lock/fence";
        const dev = await startDevServer();
        const { url, token } = dev;
        const database = await PGlite.create();
        globalThis.postgres = {
          query: (query, values) => database.query(query.text ?? query, query.values ?? values),
        };
        globalThis.redis = new Redis({ url, token });
        globalThis.locker = createLocker({ url, token });
        Object.assign(globalThis, { id: "42", amount: 5 });
        await database.exec("CREATE TABLE accounts (id text, balance int); INSERT INTO accounts VALUES ('42', 20)");
        await redis.set("balance:42", 20);
        const later = { keys: ["account:42"], fence: Number.MAX_SAFE_INTEGER };
        const inPostgres = async () => (await postgres.query("SELECT balance FROM accounts")).rows[0].balance;
        await import("./migration.ts");
        await import("./withdraw.ts");
        assert.equal(await inPostgres(), 15);
        await postgres.query(postgresFence(later));
        await assert.rejects(import("./withdraw.ts?stale"), { code: "23514" });
        assert.equal(await inPostgres(), 15);
        await import("./withdraw-redis.ts");
        assert.equal(await redis.get("balance:42"), 15);
        await redis.set("fence:{account:42}", String(later.fence));
        await assert.rejects(import("./withdraw-redis.ts?stale"), /STALEFENCE/);
        assert.equal(await redis.get("balance:42"), 15);
        await dev.close();`,
    },
    commands: [...corners.commands, ["node", "check.mjs"]],
  },
  {
    name: "the Web Locks API",
    page: "web-locks.md",
    files: ["report.ts"],
    added: {
      ...esm,
      ...corners.added,
      "yours.d.ts": yours(["buildReport", "read", "rebuild"]),
      "check.mjs": `import assert from "node:assert/strict";
        import { lockInMemory } from "serverless-lock/testing";
        lockInMemory();
        const done = [];
        for (const name of ["buildReport", "read", "rebuild"]) globalThis[name] = async () => void done.push(name);
        await import("./report.ts");
        assert.deepEqual(done, ["buildReport", "read", "rebuild"]);`,
    },
    commands: [...corners.commands, ["node", "check.mjs"]],
  },
  {
    name: "looking at a lock and steering it",
    page: "admin.md",
    files: ["steer.ts"],
    added: {
      ...esm,
      ...corners.added,
      "check.mjs": `import assert from "node:assert/strict";
        import { lockInMemory } from "serverless-lock/testing";
        const { locker } = lockInMemory();
        const lock = await locker.acquire("order:42", { ttl: "10s" });
        await import("./steer.ts");
        assert.equal(await lock.extend(), false);`,
    },
    commands: [...corners.commands, ["node", "check.mjs"]],
  },
  {
    name: "the command line of who is on call",
    page: "operations.md",
    files: [],
    added: {
      ...esm,
      "check.mjs": `import assert from "node:assert/strict";
        import { execFile } from "node:child_process";
        import { promisify } from "node:util";
        import { createLocker } from "serverless-lock";
        import { startDevServer } from "serverless-lock/dev";
        const dev = await startDevServer();
        process.env.UPSTASH_REDIS_REST_URL = dev.url;
        process.env.UPSTASH_REDIS_REST_TOKEN = dev.token;
        const run = promisify(execFile);
        const ask = async (...args) => (await run("npx", ["--no", "serverless-lock", ...args])).stdout;
        const lock = await createLocker().acquire("order:42", { ttl: "1m", owner: "charge/eu-1" });
        assert.match(await ask("list", "order:"), /^order:42 +held +charge\\/eu-1/m);
        assert.match(await ask("inspect", "order:42"), /^charge\\/eu-1 +exclusive/m);
        await ask("limit", "order:42", "10");
        await ask("limit", "order:42", "none");
        await ask("pause", "order:42");
        assert.match(await ask("inspect", "order:42"), /paused/);
        await ask("unpause", "order:42");
        await ask("release", "order:42", "--yes");
        assert.equal(await lock.extend(), false);
        await ask("release", "order:42", "--now", "--yes");
        await assert.rejects(ask("inspect", "order:42"), { code: 1 });
        await dev.close();`,
    },
    commands: [["node", "check.mjs"]],
  },
];
