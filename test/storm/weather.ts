import { setTimeout as sleep } from "node:timers/promises";
import { FAULT_KINDS, type Faults } from "../../src/dev/faults.ts";
import type { Client, Fleet } from "./fleet.ts";
import { type DirectorLine, now } from "./log.ts";
import type { Random } from "./random.ts";
import type { StormyRedis } from "./redis.ts";

/** What the weather acts on. */
interface Scene {
  random: Random;
  fleet: Fleet;
  redis: StormyRedis;
  /** Whose lock each key is at the moment. */
  holders(): { id: string; since: number }[];
  /** In ms. */
  longestLease: number;
  setFaults(faults: Faults): void;
  /** ms between two outages of Redis, and how long it stays down when it is killed: at least, at most. */
  outages: { apart: [number, number]; down: [number, number] };
  record(line: DirectorLine): void;
}

/**
 * Makes weather until the signal aborts, then leaves everything up and running. What happens and how long it lasts
 * follow from the random source; whom it hits, from who holds a lock by then.
 */
export async function makeWeather(scene: Scene, signal: AbortSignal): Promise<void> {
  await Promise.all([network(scene, signal), processes(scene, signal), outages(scene, signal)]);
}

/** Spells of a few seconds: calm, a little of everything, or much of one kind. */
async function network({ random, setFaults }: Scene, signal: AbortSignal): Promise<void> {
  let kinds: (typeof FAULT_KINDS)[number][] = [];
  const seed = Math.floor(random.between(0, 2 ** 32));
  setFaults({ seed });
  while (await pause(random.between(1500, 4000), signal)) {
    // Late enough that its request was given up, or just in time.
    const delay = Math.round(random.between(100, 2500));
    if (random.chance(0.25)) setFaults({});
    else if (random.chance(0.3)) {
      // Streams are few.
      const little = (kind: string) => (kind.startsWith("sse") ? 0.2 : 0.02);
      setFaults({ delay, ...Object.fromEntries(FAULT_KINDS.map((kind) => [kind, little(kind)])) });
    } else {
      // Each kind has its turn before any has a second.
      if (!kinds.length) kinds = [...FAULT_KINDS].sort(() => random.next() - 0.5);
      const kind = kinds.pop() as (typeof FAULT_KINDS)[number];
      setFaults({ delay, [kind]: random.between(0.1, kind.startsWith("sse") ? 0.8 : 0.4) });
    }
  }
  setFaults({});
}

async function processes(
  { random, fleet, holders, longestLease }: Scene,
  signal: AbortSignal,
): Promise<void> {
  const busy: Promise<void>[] = [];
  /** One that holds a lock, the longest first, or any. */
  const someone = (holding: boolean): Client | undefined => {
    const awake = fleet.clients().filter(({ stopped }) => !stopped);
    const names = holders()
      .sort((a, b) => a.since - b.since)
      .map(({ id }) => id.split("-")[0]);
    const holder = awake.find(({ name }) => names.includes(name));
    return (holding && holder) || (awake.length > 1 ? random.pick(awake) : undefined);
  };
  while (await pause(random.between(200, 2000), signal)) {
    const client = someone(random.chance(0.6));
    if (!client) continue;
    const what = random.next();
    if (what < 0.4) {
      fleet.stop(client);
      const ms = random.chance(0.5) ? random.between(50, 500) : random.between(1000, 2 * longestLease);
      busy.push(
        pause(ms, signal).then(() => {
          if (client.stopped) fleet.goOn(client);
        }),
      );
    } else if (what < 0.7) {
      busy.push(fleet.kill(client));
      fleet.start();
    } else {
      const ms = Math.round(random.between(200, 20_000));
      fleet.stepClock(client, random.chance(0.5) ? ms : -ms);
    }
  }
  await Promise.all(busy);
}

async function outages(
  { random, redis, record, outages: { apart, down } }: Scene,
  signal: AbortSignal,
): Promise<void> {
  for (let pausing = random.chance(0.5); await pause(random.between(...apart), signal); pausing = !pausing) {
    if (pausing) {
      redis.pause();
      record({ what: "down", at: now(), why: "paused" });
      await pause(random.between(100, 1500), signal);
      record({ what: "up", at: now(), why: "paused" });
      redis.resume();
    } else {
      const struck = now();
      await redis.kill();
      record({ what: "down", at: now(), why: "killed", struck, forgets: redis.forgets });
      await pause(random.between(...down), signal);
      record({ what: "up", at: now(), why: "killed" });
      await redis.start();
    }
  }
}

/** Whether the time passed before the signal aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(ms, true, { signal }).catch(() => false);
}
