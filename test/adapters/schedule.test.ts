import { AsyncLocalStorage } from "node:async_hooks";
import type { ScheduledEvent } from "aws-lambda";
import { afterAll, describe, expect, test, vi } from "vitest";
import { lockScheduled } from "../../src/adapters/cloudflare.ts";
import { lockFetch } from "../../src/adapters/fetch.ts";
import { lockHandler } from "../../src/adapters/lambda.ts";
import { oncePerTick } from "../../src/adapters/schedule.ts";
import type { Lock, LockEvent, LockOptions } from "../../src/index.ts";
import { engines, freshKey } from "../helpers/backends.ts";
import { lambda } from "../helpers/lambda.ts";
import { until } from "../helpers/waiter.ts";

const backend = await (engines[0] as (typeof engines)[0]).start();
afterAll(() => backend.close());
const { url, token } = backend.server;
const common = { url, token };
const free = async (name: string, tick: number) => !(await backend.raw.exists(`lock:{${keyOf(name, tick)}}`));
/** Lets the lease of a tick end, as it does by itself where nobody renews it. */
const endLease = (name: string, tick: number) => backend.raw.del(`lock:{${keyOf(name, tick)}}`);
const keyOf = (name: string, tick: number) => `${name}@${new Date(tick).toISOString()}`;

/** What a task does under the lock of a tick. */
type Work = (lock: Lock) => Promise<void>;
/** A deployed task: what a scheduler calls for a tick. */
type Task = (tick: number, skew?: number) => Promise<unknown>;

const hour = 3_600_000;
const first = Date.UTC(2026, 10, 22, 0, 5);

/** Makes something while the clock says this. */
function atClock<T>(now: number, make: () => T): T {
  const clock = vi.spyOn(Date, "now").mockReturnValue(now);
  try {
    return make();
  } finally {
    clock.mockRestore();
  }
}

const iso = (ms: number) => new Date(ms).toISOString().replace(".000", "");

/** Each scheduler, with the events it sends. */
const schedulers: { scheduler: string; deploy(name: string, work: Work): Task }[] = [
  {
    scheduler: "a rule of EventBridge",
    deploy(name, work) {
      const handler = lockHandler({ ...common, ...oncePerTick(name) }, (_: ScheduledEvent, { lock }) =>
        work(lock),
      );
      const event = { "detail-type": "Scheduled Event", source: "aws.events", detail: {} } as ScheduledEvent;
      return (tick) => handler({ ...event, time: iso(tick) }, lambda());
    },
  },
  {
    scheduler: "EventBridge Scheduler",
    deploy(name, work) {
      const handler = lockHandler({ ...common, ...oncePerTick(name) }, (_, { lock }) => work(lock));
      const event = { "detail-type": "Scheduled Event", source: "aws.scheduler", detail: "{}" };
      return (tick) => handler({ ...event, time: iso(tick) }, lambda());
    },
  },
  {
    scheduler: "EventBridge Scheduler with an input of one's own",
    deploy(name, work) {
      // Written there as "<aws.scheduler.scheduled-time>".
      const handler = lockHandler({ ...common, ...oncePerTick(name) }, (_, { lock }) => work(lock));
      return (tick) => handler({ report: "daily", scheduledTime: iso(tick) }, lambda());
    },
  },
  {
    scheduler: "a cron trigger of Cloudflare",
    deploy(name, work) {
      const handler = lockScheduled({ ...common, ...oncePerTick(name) }, ({ lock }) => work(lock));
      const ctx = { waitUntil: (promise: Promise<unknown>) => void promise };
      return (tick) => handler({ scheduledTime: tick, cron: "5 * * * *" }, {}, ctx);
    },
  },
  {
    scheduler: "a cron job of Vercel, whose instances' clocks are up to 50 minutes apart",
    deploy(name, work) {
      const options = oncePerTick(name, { period: "1h", offset: "5m" });
      // Only the key asks what time it is; the lock measures what passes on its own clock.
      const key = (request: Request) =>
        atClock(Number(request.headers.get("x-now")), () => options.key(request));
      const handler = lockFetch({ ...common, ...options, key }, async (request) => {
        await work(request.lock);
        return new Response("done");
      });
      return (tick, skew = 0) =>
        handler(new Request("http://a/cron", { headers: { "x-now": `${tick + skew}` } })).then((response) =>
          response.text(),
        );
    },
  },
];

/** Pseudo-random numbers from 0 up to 1, the same ones for a seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

const ticks = Array.from({ length: 20 }, (_, i) => first + i * hour);

/** Delivers each tick five times to one of three instances, in any order, ten at a time. */
async function deliver(
  instances: Task[],
  random: () => number,
  send: (task: Task, tick: number, skew: number) => Promise<unknown>,
) {
  const deliveries = shuffled(Array(5).fill(ticks).flat() as number[], random);
  const sender = async () => {
    for (let tick = deliveries.pop(); tick !== undefined; tick = deliveries.pop()) {
      const task = instances[Math.floor(random() * instances.length)] as Task;
      await send(task, tick, (random() - 0.5) * 50 * 60_000);
    }
  };
  await Promise.all(Array.from({ length: 10 }, sender));
}

/** The delivery that a run belongs to. */
const delivery = new AsyncLocalStorage<{ crash(): void }>();

/** Lets others run for a while: some round trips to Redis. */
async function pause(random: () => number) {
  for (let i = random() * 5; i > 0; i--) await backend.raw.ping();
}

describe.each(schedulers)("oncePerTick on $scheduler", ({ deploy }) => {
  test.each([1, 2])(
    "100 deliveries of 20 ticks, repeated and overlapping, make 20 runs (seed %i)",
    async (seed) => {
      const random = seeded(seed);
      const name = freshKey();
      const ran: string[] = [];
      const work: Work = async (lock) => {
        ran.push(lock.key);
        await pause(random);
      };
      const instances = Array.from({ length: 3 }, () => deploy(name, work));
      await deliver(instances, random, (task, tick, skew) => task(tick, skew));
      expect(ran.sort()).toEqual(ticks.map((tick) => keyOf(name, tick)));
    },
  );

  test.each([1, 2])(
    "where one run in ten crashes or fails, each tick still succeeds once (seed %i)",
    async (seed) => {
      const random = seeded(seed);
      const name = freshKey();
      const fates = shuffled(["crash", "fail", ...Array(18).fill("succeed")], random);
      const ran = { crash: 0, fail: 0 };
      const succeeded: string[] = [];
      const work: Work = async (lock) => {
        await pause(random);
        const fate = fates.pop();
        if (fate === "fail") {
          ran.fail++;
          throw new Error("the disk is full");
        }
        if (fate === "crash") {
          ran.crash++;
          // As seen from Redis: never released.
          delivery.getStore()?.crash();
          await new Promise(() => {});
        }
        succeeded.push(lock.key);
      };
      const instances = Array.from({ length: 3 }, () => deploy(name, work));
      await deliver(instances, random, async (task, tick, skew) => {
        // What failed is delivered again; what crashed, after its lease: a scheduler takes minutes to notice.
        for (;;) {
          const crashed = Promise.withResolvers<"crashed">();
          const crash = () => crashed.resolve("crashed");
          const run = delivery.run({ crash }, () => task(tick, skew));
          const outcome = await Promise.race([run, crashed.promise]).catch(() => "failed");
          if (outcome === "crashed") await endLease(name, tick);
          else if (outcome !== "failed") return;
        }
      });
      expect(ran).toEqual({ crash: 1, fail: 1 });
      expect(succeeded.sort()).toEqual(ticks.map((tick) => keyOf(name, tick)));
    },
  );
});

describe("oncePerTick", () => {
  /** Runs a task for a tick; resolves to whether it ran. */
  const task = (name: string, work: Work = async () => {}, more: LockOptions = {}) => {
    const options = { ...common, ...oncePerTick(name), ...more };
    const handler = lockHandler(options, (_: { time: string }, { lock }) => work(lock).then(() => "ran"));
    return async (tick = first) => (await handler({ time: iso(tick) }, lambda())) === "ran";
  };

  test("a tick that succeeded is not run again for 25 hours, counted from its start", async () => {
    const name = freshKey();
    const run = task(name);
    expect([await run(), await run(), await run(first + hour)]).toEqual([true, false, true]);
    const left = await backend.raw.pttl(`lock:{${keyOf(name, first)}}`);
    expect(left).toBeGreaterThan(24 * hour);
    expect(left).toBeLessThanOrEqual(25 * hour);
  });

  test("a twin that comes while a run is at work is skipped, however long that takes", async () => {
    const name = freshKey();
    const outcomes: boolean[] = [];
    const renewals: unknown[] = [];
    // Past its lease, which is renewed at a third of it.
    const onEvent = ({ type }: LockEvent) => type === "renewed" && renewals.push(type);
    const work: Work = async ({ signal }) => {
      while (renewals.length < 4 && !signal.aborted) outcomes.push(await task(name)());
    };
    expect(await task(name, work, { ttl: 1500, onEvent })()).toBe(true);
    expect(new Set(outcomes)).toEqual(new Set([false]));
  });

  test("a run that failed lets the next delivery in at once", async () => {
    const name = freshKey();
    const failing = task(name, () => Promise.reject(new Error("the disk is full")));
    await expect(failing()).rejects.toThrow("the disk is full");
    expect(await task(name)()).toBe(true);
  });

  test("a run that crashed lets the next delivery in after one lease", async () => {
    const name = freshKey();
    const crashed = Promise.withResolvers<void>();
    let left = hour;
    const crash: Work = async () => {
      // As seen from Redis: never renewed, never released.
      left = 0;
      crashed.resolve();
      await new Promise(() => {});
    };
    task(name, crash, { ttl: "1s", deadline: () => left })();
    await crashed.promise;
    expect(await task(name)()).toBe(false);
    await until(() => free(name, first));
    expect(await task(name)()).toBe(true);
  });

  test("tasks of different names run for the same tick", async () => {
    expect([await task(freshKey())(), await task(freshKey())()]).toEqual([true, true]);
  });
});
