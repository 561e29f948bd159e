import { setTimeout as sleep } from "node:timers/promises";
import type { Desk } from "./libraries/library.ts";
import { type DirectorLine, now, type Steering } from "./log.ts";
import type { Random } from "./random.ts";
import { pause } from "./weather.ts";

interface Shift {
  desk: Desk;
  random: Random;
  /** All keys there are. */
  keys: string[];
  /** Who holds which of them at the moment. */
  holders(): { key: string }[];
  /** Whether it ends locks at once, and not safely. */
  now: boolean;
  record(line: DirectorLine): void;
}

/** ms after which no request is on its way any more that was given up. */
const allHasArrived = 5000;

/**
 * Somebody on call, whose requests meet the same weather as everybody's: ends locks that are held, pauses some for a
 * while, and sets other limits for permits. In the end it has taken back all that it set.
 */
export async function operate(shift: Shift, signal: AbortSignal): Promise<void> {
  await Promise.all([endLocks(shift, signal), steerLocks(shift, signal)]);
}

async function endLocks(shift: Shift, signal: AbortSignal): Promise<void> {
  const { desk, random, holders, record } = shift;
  while (await pause(random.between(20, 300), signal)) {
    const held = holders();
    if (!held.length) continue;
    const { key } = random.pick(held);
    const at = now();
    const released = await desk.release(key, { now: shift.now });
    record({ what: "ended", at, to: now(), key, now: shift.now, released });
  }
}

async function steerLocks(shift: Shift, signal: AbortSignal): Promise<void> {
  const { random, keys } = shift;
  const steered = new Set<string>();
  const steering: Promise<void>[] = [];
  while (await pause(random.between(300, 1500), signal)) {
    const key = random.pick(keys);
    if (steered.has(key)) continue;
    steered.add(key);
    const limits = key.startsWith("permits") && random.chance(0.7);
    const limit = limits ? Math.ceil(random.between(0, 8)) : undefined;
    const what: Steering = limits ? { key, act: "limit", limit } : { key, act: "pause" };
    steering.push(steer(shift, what, random.between(200, 1500), signal).then(() => void steered.delete(key)));
  }
  await Promise.all(steering);
}

/** Sets it for so many ms. One that was given up may arrive after it was taken back, so that is done once more. */
async function steer(
  { desk, record }: Shift,
  what: Steering,
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  const { key, act, limit } = what;
  const note = (step: "asked" | "holds" | "lifting" | "over") =>
    record({ what: "steering", at: now(), step, ...what });
  const set = () => (act === "pause" ? desk.pause(key, true) : desk.limit(key, limit));
  const lift = () => (act === "pause" ? desk.pause(key, false) : desk.limit(key, undefined));
  note("asked");
  await insist(set, signal);
  note("holds");
  await pause(ms, signal);
  note("lifting");
  await insist(lift, signal);
  await sleep(allHasArrived);
  await insist(lift, signal);
  note("over");
  // Nor may this one arrive while the next is to hold.
  await pause(allHasArrived, signal);
}

/**
 * Asks until it is answered. Once the storm is over, it tries ten times more: a machine that is too busy to answer is not
 * to keep the storm from its end. What is left then is a key without an end, which is a finding.
 */
async function insist(ask: () => Promise<true | undefined>, signal: AbortSignal): Promise<void> {
  for (let tries = 0; tries < 10; tries += Number(signal.aborted)) {
    if (await ask()) return;
    await sleep(200);
  }
}
