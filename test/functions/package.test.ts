import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unzip } from "./unzip.ts";

const cli = createRequire(import.meta.url).resolve("serverless/bin/serverless.js");
const functions = ["charge", "report", "orders-queue"];
// Far from this repository: a bundle that lacks something finds no node_modules to make up for it.
const directory = mkdtempSync(join(tmpdir(), "serverless-lock-package-"));

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each(["nodejs22.x", "nodejs24.x"])("serverless package for %s", (runtime) => {
  const folder = join(directory, runtime);

  beforeAll(() => {
    // With an empty home and none of our variables, nothing can come from an account.
    const env = { PATH: process.env.PATH, HOME: directory };
    const args = [
      "--package",
      folder,
      "--param",
      `runtime=${runtime}`,
      "--param",
      "workFolder=.esbuild/package",
    ];
    const run = spawnSync(process.execPath, [cli, "package", ...args], { encoding: "utf8", env });
    expect(run.status, run.stderr).toBe(0);
  });

  test("gives the functions that runtime, the route, the schedule and the queue", () => {
    const template = readFileSync(join(folder, "cloudformation-template-update-stack.json"), "utf8");
    const { Resources } = JSON.parse(template) as {
      Resources: Record<string, { Type: string; Properties: Record<string, unknown> }>;
    };
    const of = (type: string) => Object.values(Resources).filter(({ Type }) => Type === type);
    const properties = (type: string, name: string) => of(type).map(({ Properties }) => Properties[name]);
    expect(properties("AWS::Lambda::Function", "Runtime")).toEqual([runtime, runtime, runtime]);
    expect(properties("AWS::Lambda::Function", "Handler")).toEqual(
      functions.map((name) => `functions/${name}.handler`),
    );
    expect(properties("AWS::ApiGatewayV2::Route", "RouteKey")).toEqual(["POST /orders/{id}/charge"]);
    expect(properties("AWS::Events::Rule", "ScheduleExpression")).toEqual(["cron(0 2 * * ? *)"]);
    expect(properties("AWS::Lambda::EventSourceMapping", "FunctionResponseTypes")).toEqual([
      ["ReportBatchItemFailures"],
    ]);
    expect(of("AWS::SQS::Queue")).toHaveLength(2);
  });

  test("makes each one bundle without the dev server, which imports cleanly where nothing is installed", () => {
    for (const name of functions) {
      const files = unzip(readFileSync(join(folder, `${name}.zip`)));
      expect([...files.keys()]).toEqual([`functions/${name}.mjs`]);
      const code = files.get(`functions/${name}.mjs`) as Buffer;
      expect(code.toString()).not.toMatch(/js-redis-server|ioredis|hono|startDevServer/);
      expect(code.length).toBeLessThan(130_000);
      writeFileSync(join(folder, `${name}.mjs`), code);
    }
    const imports = functions.map((name) => `(await import("./${name}.mjs")).handler`);
    const script = `console.log([${imports}].map((handler) => typeof handler).join());`;
    const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
      cwd: folder,
      env: { UPSTASH_REDIS_REST_URL: "http://127.0.0.1:1", UPSTASH_REDIS_REST_TOKEN: "none" },
    });
    expect(run).toMatchObject({ status: 0, stdout: "function,function,function\n", stderr: "" });
  });
});
