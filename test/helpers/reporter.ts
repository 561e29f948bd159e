import type { Reporter, TestModule } from "vitest/node";
import { hasRedisServer } from "./redis-server.ts";

/**
 * Says what was left out and why, and ends with the line "N passed, N failed, N skipped". With LEAVE_NOTHING_OUT
 * set, a test left out fails the run; a run of no test at all always does.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    const leftOut = new Map<string, { tests: number; why: string | undefined }>();
    for (const module of modules) {
      // A file that could not be read runs no test, and is a failure all the same.
      if (module.children.size === 0 || module.errors().length > 0) counts.failed++;
      for (const test of module.children.allTests()) {
        const result = test.result();
        const { state } = result;
        if (state === "pending") counts.failed++;
        else counts[state]++;
        if (state !== "skipped") continue;
        const suite = test.fullName.split(" > ")[0] ?? test.fullName;
        const { tests = 0, why } = leftOut.get(suite) ?? {};
        leftOut.set(suite, { tests: tests + 1, why: why ?? ("note" in result ? result.note : undefined) });
      }
    }
    counts.failed += errors.length;

    if (leftOut.size > 0) {
      const why = hasRedisServer ? "" : " (where no reason is given, for want of a redis-server on the PATH)";
      console.log(`\nLeft out${why}:`);
      for (const [suite, { tests, why }] of leftOut)
        console.log(`  ${suite} (${tests} ${tests === 1 ? "test" : "tests"})${why ? `: ${why}` : ""}`);
    }
    const { passed, failed, skipped } = counts;
    if (passed + failed === 0) console.error("No test was run.");
    if (failed > 0 || passed === 0 || (skipped > 0 && process.env.LEAVE_NOTHING_OUT)) process.exitCode = 1;
    console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  }
}
