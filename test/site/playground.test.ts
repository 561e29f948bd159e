import { expect, test } from "vitest";
import { createGame, type Kind, usual } from "../../site/playground/game.ts";

async function played(settings: Partial<typeof usual> = {}, clients = 5, ms = 30_000) {
  const game = await createGame(7, { ...usual, ...settings });
  for (let i = 0; i < clients; i++) game.addClient();
  await game.advance(ms);
  return game;
}

test("clients take turns, one at a time, and a hand-over takes one round trip", async () => {
  const { counts, clients } = await played();
  expect(counts.acquired).toBeGreaterThan(30);
  expect(counts.most).toBe(1);
  expect(counts.handOver).toBeGreaterThan(20);
  expect(counts.handOver).toBeLessThan(60);
  for (const { segments } of clients) expect(new Set(segments.map(({ state }) => state))).toContain("holds");
});

test.each<[Kind, number]>([
  ["permits", 2],
  ["readers", 2],
])("of %s several are in at once", async (kind, least) => {
  const { counts } = await played({ kind });
  expect(counts.most).toBeGreaterThanOrEqual(least);
  expect(counts.most).toBeLessThanOrEqual(counts.limit);
});

test("never two are in while every fifth message gets lost", async () => {
  const { counts } = await played({ loss: 0.2 }, 6, 120_000);
  expect(counts.most).toBe(1);
  expect(counts.acquired).toBeGreaterThan(10);
});

test("a client that crashes with the lock in its hand holds up the others for one lease", async () => {
  const game = await played();
  while (!game.clients.some(({ segments }) => segments.at(-1)?.state === "holds")) await game.advance(5);
  const holder = game.clients.find(({ segments }) => segments.at(-1)?.state === "holds");
  holder?.crash();
  const before = game.counts.acquired;
  await game.advance(1000);
  expect(game.counts.acquired).toBe(before);
  await game.advance(3000);
  expect(game.counts.acquired).toBeGreaterThan(before);
  expect(game.counts.most).toBe(1);
});

test("a client that is frozen past its lease is not in beside the next one", async () => {
  const game = await played({ work: 1000 });
  for (let round = 0; round < 10; round++) {
    game.clients.find(({ segments }) => segments.at(-1)?.state === "holds")?.freeze(5000);
    await game.advance(4000);
  }
  expect(game.counts.most).toBe(1);
  expect(game.counts.lost).toBeGreaterThan(0);
});

test("Redis says who holds it and who waits", async () => {
  const game = await played();
  expect(game.holders.length + game.waiters.length).toBeGreaterThan(0);
  for (const name of [...game.holders, ...game.waiters]) expect(name).toMatch(/^client \d$/);
});
