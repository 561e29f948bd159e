// A process of waiters: told by its parent who is to ask for a lock at what time, it says when each got it.

import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import type { Order, Told, Turn } from "./crowd.ts";
import { now } from "./crowd.ts";
import { waiters } from "./waiters.ts";

process.on("message", async (order: Order) => {
  try {
    process.send?.({ turns: await carryOut(order) } satisfies Told);
  } catch (error) {
    process.send?.({ failed: inspect(error) } satisfies Told);
  }
});

const clients = new Map<string, ReturnType<(typeof waiters)[Order["waiter"]]>>();

async function carryOut({ waiter, credentials, key, people, counter }: Order): Promise<Turn[]> {
  const id = `${waiter} ${credentials.url}`;
  const wait = clients.get(id) ?? waiters[waiter](credentials);
  clients.set(id, wait);
  return Promise.all(
    people.map(async ({ index, at, work, kind }) => {
      await sleep(Math.max(0, at - now()));
      const turn = { index, asked: now(), started: 0, ended: 0 };
      await wait(kind ? { key, ...kind } : key, async () => {
        turn.started = now();
        // A second holder at the same time would read what this one reads, and one of two steps would be lost.
        const count = counter && Number(readFileSync(counter, "utf8"));
        await sleep(work);
        if (counter) writeFileSync(counter, `${Number(count) + 1}`);
        turn.ended = now();
      });
      return turn;
    }),
  );
}
