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
      include: ["*.ts", "app"],
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
// The declarations of middy, Hono and vitest do not compile themselves in all of these.
const unchecked = compiled({ skipLibCheck: true });

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
];
