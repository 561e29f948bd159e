import { createLocker } from "serverless-lock";
import type { DevServer } from "serverless-lock/dev";
import { charge, failure, gotIn } from "./charges.ts";
import { costOf } from "./cost.ts";
import { chargesTable, costTable } from "./tables.ts";

const BURST = 10;

/**
 * Charges one order many times at once; prints who got in, who was turned away, and what it cost.
 *
 * @param http the functions' HTTP API
 * @throws an Error that says what was not as it should be
 */
export async function show(dev: DevServer, http: string, print: (text: string) => void): Promise<void> {
  // This also starts an instance of the function for each. Without it, those that take longer to start might
  // come only when the first charge is done.
  print(`${BURST} orders at once, to warm up: `);
  const others = await Promise.all(Array.from({ length: BURST }, (_, i) => charge(http, `${i + 1}`)));
  print(`${others.filter(gotIn).length} charged, since each has a lock of its own.\n\n`);
  expect(others, BURST);

  print(`One order ${BURST} times at once, POST /orders/42/charge:\n\n`);
  const burst = await costOf(dev.meter, () =>
    Promise.all(Array.from({ length: BURST }, () => charge(http, "42"))),
  );
  print(`${chargesTable(burst.result)}\n`);
  expect(burst.result, 1);

  const again = await costOf(dev.meter, () => charge(http, "42"));
  print(`Once more, alone: ${again.result.status}. The lock was free again.\n\n`);
  expect([again.result], 1);

  const refused = await whileHeld(dev, "order:42", () => costOf(dev.meter, () => charge(http, "42")));
  expect([refused.result], 0);

  print("What it cost, as Upstash bills it:\n\n");
  print(
    costTable({
      "a charge that got in": again.cost,
      "one turned away": refused.cost,
      [`all ${BURST} at once`]: burst.cost,
    }),
  );
}

function expect(charges: Parameters<typeof failure>[0], winners: number): void {
  const count = charges.filter(gotIn).length;
  const wrong = failure(charges) ?? (count === winners ? undefined : `${count} got in instead of ${winners}`);
  if (wrong) throw new Error(wrong);
}

async function whileHeld<T>({ url, token }: DevServer, key: string, work: () => Promise<T>): Promise<T> {
  await using _lock = await createLocker({ url, token }).acquire(key, { owner: "npm start" });
  return await work();
}
