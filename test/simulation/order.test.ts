import { beforeAll, expect, test } from "vitest";
import { sleep } from "../../src/runtime.ts";
import { createRealEngine, type Engine } from "./engine.ts";
import * as library from "./entry.ts";
import { weathers } from "./plan.ts";
import type { SimulatedProcess } from "./process.ts";
import { Tally } from "./tally.ts";
import { createWorld, type World } from "./world.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createRealEngine();
});

const calmWorld = (seed: number, log?: (step: string) => void) =>
  createWorld({
    ...{ seed, engine, library, log },
    faults: weathers.calm,
    extended: true,
    tally: new Tally(),
  });

function contend(
  { timeline, lockerOf }: World,
  process: SimulatedProcess,
  start: number,
  work: () => Promise<void>,
) {
  timeline.schedule(start, () => void lockerOf(process).withLock("k", { wait: "1h" }, work));
}

test.each([1, 2, 3])(
  "in calm weather the lock is given in the order in which it was asked for (%i)",
  async (seed) => {
    const world = await calmWorld(seed);
    const order: number[] = [];
    const asked = Array.from({ length: 40 }, (_, i) => i);
    for (const i of asked) {
      const process = world.addProcess();
      // Farther apart than the network may shuffle them.
      contend(world, process, i * 150, async () => {
        order.push(i);
        await sleep(process.runtime, 600);
      });
    }
    await world.timeline.run(60_000, () => {});
    expect(order).toEqual(asked);
  },
);

test.each([1, 2, 3, 4, 5, 6])(
  "a grant whose message reaches a frozen process late is not believed in (%i)",
  async (seed) => {
    const steps: string[] = [];
    const world = await calmWorld(seed, (step) => steps.push(step));
    const holding: string[] = [];
    const both: string[] = [];
    const enter = (name: string, start: number, work: number) => {
      const process = world.addProcess();
      contend(world, process, start, async () => {
        holding.push(name);
        if (holding.length > 1) both.push(holding.join(" and "));
        await sleep(process.runtime, work);
        holding.splice(holding.indexOf(name), 1);
      });
      return process;
    };
    enter("the first", 0, 1000);
    const frozen = enter("the frozen", 200, 3000);
    enter("the next", 400, 9000);
    // From before its grant until after that has lapsed and the next one holds the lock.
    world.timeline.schedule(900, () => frozen.freeze(7100));
    await world.timeline.run(60_000, () => {});
    expect(steps.some((step) => /^ +1\d{3} a message: /.test(step))).toBe(true);
    expect(both).toEqual([]);
    expect(holding).toEqual([]);
  },
);
