import { beforeAll, describe, expect, test } from "vitest";
import { steps } from "./check.ts";
import { failures, type Row, runAll } from "./matrix.ts";
import { isInstalled, type Runtime, runtimes } from "./runtimes.ts";

const rowOf = new Map<Runtime, Row>();

beforeAll(async () => {
  for (const row of await runAll(runtimes.filter(isInstalled))) rowOf.set(row.runtime, row);
}, 600_000);

for (const runtime of runtimes) {
  describe.skipIf(!isInstalled(runtime))(
    `${runtime.name} (needs npm ci --prefix test/runtimes/guest)`,
    () => {
      test("takes, waits for, renews, loses and releases locks, and leaves nothing behind", () => {
        expect(failures(rowOf.get(runtime) as Row)).toEqual([]);
      });
    },
  );
}

test("a runtime in which the lock fails is reported", async () => {
  const [node24] = runtimes.filter(({ id }) => id === "node24") as [Runtime];
  const [row] = await runAll([{ ...node24, env: { UPSTASH_REDIS_REST_TOKEN: "wrong" } }]);
  expect(failures(row as Row)).toEqual([
    { step: "serve", ok: false, seen: "Error: the entry answered 503" },
    { step: steps.join(", "), ok: false, seen: "not reported" },
  ]);
});
