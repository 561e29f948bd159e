import { expect, test } from "vitest";
import { describe } from "../simulation/batch.ts";
import type { EngineName, Kind } from "../simulation/plan.ts";
import { playHistories } from "../simulation/pool.ts";
import { buildVariant } from "./build.ts";
import { type VariantName, variants } from "./variants.ts";

// The simulation is itself checked: it has to find what each safeguard of the package is there for.

const seed = 1;
/** Far more than any of them needs: the rarest defect shows in one history of some 500. */
const histories = 20_000;

const believed = /relies on the lock for longer|holds a lock that the server has given to|both hold the lock/;
/** A history shows one or the other first: that nobody got a free lock, or that a patient waiter got none. */
const starved = /free for more than|was to wait for 300000 ms and was told busy/;

/** Its defect is in a script, which the model does not have. */
const real: EngineName[] = ["real"];
/** What is locked in the histories. @default "exclusive" */
const found: Record<VariantName, { as: RegExp; engines?: EngineName[]; kind?: Kind }> = {
  "release without comparison": { as: believed, engines: real },
  "validity counted from the reply": { as: believed },
  "no drift allowance": { as: believed },
  "grant counted from the message": { as: believed },
  "cut grant taken for a whole one": { as: believed },
  "no tickets": { as: believed },
  "own value found on a retry counted from the retry": { as: believed },
  "non-idempotent take": { as: /was told "busy", and nobody else had the lock/ },
  "a holder that is forgotten when the first waits": { as: believed, engines: real },
  "a dead holder's lock passed on by nobody": { as: starved, engines: real },
  "a dead waiter's grant passed on by nobody but the next release": { as: starved, engines: real },
  "a limit counted without weights": { as: /more permits than there are/, engines: real, kind: "permits" },
  "a reader let past a waiting writer": { as: /was let past/, engines: real, kind: "readers" },
  "a key's life cut by one short lease": { as: believed, engines: real, kind: "permits" },
  "one key kept after a vain attempt at several": {
    as: /was done, and (the lock is still its|still stands in the queue)/,
    kind: "several",
  },
  "a result stored by a holder that lost its lock": {
    as: /was stored while .* had the lock/,
    engines: real,
    kind: "results",
  },
  "a result stored in one step and the lock released in another": {
    as: /was stored while .* had the lock|was let in to work while the result|had lost the lock, and its result was kept/,
    kind: "results",
  },
  "a safe release that frees at once": { as: believed, engines: real, kind: "operated" },
  "a holder that is not told that an operator ended it": {
    as: /an operator ended the lock of #\d+, which was told: .* another has it/,
    engines: real,
    kind: "operated",
  },
  "a pause that lets in who waits": {
    as: /let in while the lock was paused/,
    engines: real,
    kind: "operated",
  },
};

test.each(Object.keys(variants) as VariantName[])(
  "the simulation finds: %s",
  async (name) => {
    const { as, engines = ["model"], kind = "exclusive" } = found[name];
    const file = await buildVariant(name);
    const { counts, failure } = await playHistories({
      ...{ seed, histories, file, engines, kinds: [kind], shrink: false },
    });
    console.log(`${name}: ${counts.histories} histories, ${failure?.violation}`);
    expect(failure?.violation).toMatch(as);
  },
  600_000,
);

test("the simulation finds nothing in a bundle of the package as it is", async () => {
  const file = await buildVariant();
  const { counts, failure } = await playHistories({ seed, histories: 1000, file });
  expect(failure && describe(failure)).toBeUndefined();
  expect(counts.histories).toBe(1000);
}, 600_000);

test("a history that went wrong is made smaller, and can be played again step by step", async () => {
  const engines: EngineName[] = ["model"];
  const kinds: Kind[] = ["exclusive"];
  const file = await buildVariant("validity counted from the reply");
  const [asFound, shrunk] = [
    await playHistories({ seed, histories, file, engines, kinds, shrink: false, workers: 1 }),
    await playHistories({ seed, histories, file, engines, kinds, workers: 1 }),
  ].map(({ failure }) => failure);
  if (!asFound || !shrunk) throw new Error("nothing went wrong");
  expect(shrunk.plan.parts.length).toBeLessThanOrEqual(asFound.plan.parts.length);
  expect(shrunk.steps.length).toBeLessThan(asFound.steps.length);
  for (const { seed, path, ...rest } of [asFound, shrunk]) {
    const { failure } = await playHistories({ seed, path, histories: 1, file, engines, kinds });
    expect(failure).toMatchObject(rest);
  }
}, 600_000);

test.each([
  ["no such text", /durations\.ts does not have this text once: no such text/],
  ["return", /durations\.ts does not have this text once: return/],
])("a patch that does not fit the source any more is an error (%s)", async (replace, error) => {
  const patches = [{ file: "options/durations.ts", replace, by: "" }];
  await expect(buildVariant("no tickets", patches)).rejects.toThrow(error);
});

test("a patch of a file that is not in the bundle is an error", async () => {
  const patches = [{ file: "gone.ts", replace: "a", by: "b" }];
  await expect(buildVariant("no tickets", patches)).rejects.toThrow("src/gone.ts is not in the bundle");
});
