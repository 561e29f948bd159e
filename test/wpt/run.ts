// Runs the Web Platform Tests of web-locks as they are: npm run wpt -- FOLDER. They are no part of this repository.
import { once } from "node:events";
import { existsSync, globSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { startDevServer } from "../../src/dev/index.ts";
import type { Result, ScopeOptions } from "./scope.ts";

const usage = `Runs the Web Platform Tests of web-locks against lockManager on a development server.

  npm run wpt -- FOLDER

  FOLDER  with web-locks/*.any.js and resources/testharness.js of the Web Platform Tests,
          such as test/fixtures/wpt of nodejs/node

Exits with 0 when all tests that apply passed, 1 when one failed, 2 when they could not be run.`;

/** Files that say nothing of an API without a browser, and why. */
const notApplicable: Record<string, string> = {
  "secure-context.https.any.js": "it looks for a page's global names",
  "storage-buckets.tentative.https.any.js": "there are no storage buckets",
  "idlharness.https.any.js": "it looks for a page's global names",
};

/** Ms that the tests of one file may take. */
const patience = 60_000;

const { positionals } = parseArgs({ allowPositionals: true });
const [folder] = positionals;
if (folder === undefined || !existsSync(join(folder, "resources/testharness.js"))) {
  console.error(usage);
  process.exitCode = 2;
} else {
  await main(resolve(folder));
}

async function main(folder: string): Promise<void> {
  const server = await startDevServer({ port: 0 });
  const counts = { passed: 0, failed: 0 };
  try {
    for (const file of globSync(join(folder, "web-locks/*.any.js")).sort()) {
      const name = basename(file);
      const reason = notApplicable[name];
      console.log(reason ? `${name}: left out, ${reason}` : name);
      if (reason) continue;
      const { url, token } = server;
      for (const { test, failure } of await runFile({ folder, file, url, token, prefix: `${name}:` })) {
        counts[failure === undefined ? "passed" : "failed"]++;
        console.log(failure === undefined ? `  passed  ${test}` : `  FAILED  ${test}\n          ${failure}`);
      }
    }
  } finally {
    await server.close();
  }
  console.log(`\n${counts.passed} passed, ${counts.failed} failed.`);
  if (counts.failed > 0 || counts.passed === 0) process.exitCode = 1;
}

/** The tests of a file, in a scope of their own. */
async function runFile(options: Omit<ScopeOptions, "kind">): Promise<Result[]> {
  const workerData: ScopeOptions = { ...options, kind: "test" };
  const worker = new Worker(new URL("scope.ts", import.meta.url), { workerData });
  const results: Result[] = [];
  const ended = new Promise<void>((resolve) => {
    worker.on("message", (result: Result | "done") => {
      if (result === "done") resolve();
      else results.push(result);
    });
  });
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`not done after ${patience} ms`)), patience);
  try {
    const failed = once(worker, "exit", late).then(([code]) => {
      throw new Error(`ended with ${code}`);
    });
    await Promise.race([ended, failed]);
  } catch (error) {
    results.push({ test: "the whole file", failure: (error as Error).message });
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
  return results;
}
