import { expect, test } from "vitest";
import { describe } from "./batch.ts";
import { playHistories } from "./pool.ts";

// Histories of the real client on a virtual clock and a virtual network. A failing run prints the smallest history
// it found, step by step, and what plays it again: HISTORY_SEED=… HISTORY_PATH=… npx vitest run test/simulation
const histories = Number(process.env.HISTORIES ?? 20_000);
const seed = Number(process.env.HISTORY_SEED ?? Date.now() % 1_000_000_000);
const path = process.env.HISTORY_PATH;

/** All that may happen. A run in which it did not would prove nothing. */
const happenings = [
  ...[
    "held",
    "handedOver",
    "busy",
    "unavailable",
    "aborted",
    "released",
    "foundLost",
    "extensions",
    "foreigners",
  ],
  ...[
    "permitsTogether",
    "readersTogether",
    "several",
    "severalAfterWaiting",
    "downgrades",
    "resumed",
    "kept",
  ],
  ...["worked", "given", "failed", "lost"],
  ...["lostRequests", "lostReplies", "repetitions", "delays", "lostMessages", "brokenStreams"],
  ...["crashes", "freezes", "is suspended", "loses its network"],
  ...["sets its clock forward", "sets its clock back", "the server sets its clock back"],
  ...["ends a lock", "ends a lock now", "pauses a lock", "limits a lock", "toldOfTheOperator"],
  ...["the lock is deleted", "the server is down", "onModel", "onRealScripts"],
];

const title = path ? `the history ${path}` : `none of ${histories} histories`;
test(`${title} makes two holders, starves a waiter, gives a wrong answer or leaves anything (seed ${seed})`, async () => {
  const { counts, failure } = await playHistories({ seed, histories, path });
  expect(failure && describe(failure)).toBeUndefined();
  console.log(JSON.stringify(counts));
  if (path) return;
  expect(counts.histories).toBe(histories);
  for (const what of happenings) expect(counts[what], what).toBeGreaterThan(histories / 100);
}, 1_800_000);

test("a run has the same histories however many processes play it", async () => {
  const run = { seed: 7, histories: 300 };
  const [one, two] = [
    await playHistories({ ...run, workers: 1 }),
    await playHistories({ ...run, workers: 2 }),
  ];
  expect(one.counts.histories).toBe(300);
  expect(two.counts).toEqual(one.counts);
});
