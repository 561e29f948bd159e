// A client of a storm, in a process of its own: some workers that take locks and write to the resource under them, and
// log what they believe, until the end of standard input.
import { setTimeout as sleep } from "node:timers/promises";
import { followClock } from "./clock.ts";
import { libraryOf } from "./libraries/index.ts";
import { type Attempt, type Held, isRefused, type Made, type Refused } from "./libraries/library.ts";
import { type ClientLine, now, openLog } from "./log.ts";
import { type Random, randomOf } from "./random.ts";
import { reachResource } from "./resource.ts";
import { isFenced, type Kinds, leases, longestKept, pickClaims } from "./settings.ts";

export interface ClientSettings {
  client: string;
  library: string;
  seed: number;
  workers: number;
  kinds: Kinds;
  log: string;
  clock: string;
  resource: string;
  redisUrl: string;
}

const settings = JSON.parse(process.argv[2] as string) as ClientSettings;
const { client, kinds } = settings;
followClock(settings.clock);
const library = libraryOf(settings.library);
if (!library) throw new Error(`no library ${settings.library}`);
const { fences, lease } = library;
const limit = library.limit(client);
const log = openLog<ClientLine>(settings.log);
const resource = await reachResource(settings.resource);
const session = await library.open(
  {
    url: process.env.UPSTASH_REDIS_REST_URL as string,
    token: process.env.UPSTASH_REDIS_REST_TOKEN as string,
    redisUrl: settings.redisUrl,
  },
  client,
);

let ending = false;
process.stdin.resume().once("end", () => {
  ending = true;
});
const watch = watchLoop();
let attempts = 0;
await Promise.all(Array.from({ length: settings.workers }, (_, i) => workUntilTheEnd(settings.seed + i)));
clearInterval(watch);
resource.close();
await session.close();
log({ what: "finished", at: now() });
// Were anything of the library's left, the process would live on, and the director see it.

async function workUntilTheEnd(seed: number): Promise<void> {
  const random = randomOf(seed);
  while (!ending) {
    await attempt(random);
    await sleep(random.between(1, 60));
  }
}

async function attempt(random: Random): Promise<void> {
  const id = `${client}-${++attempts}`;
  const claims = pickClaims(kinds, random);
  const key = claims.map((claim) => claim.key).join(", ");
  const long = random.chance(0.07);
  const asked: Attempt = {
    id,
    claims,
    ttl: Math.round(random.between(leases(kinds).shortest, leases(kinds).longest)),
    wait: random.chance(0.3) ? 0 : Math.round(random.between(200, 3000)),
    // Without, long work is often told to stop.
    renew: random.chance(long ? 0.6 : 0.3),
    fenced: fences && claims.every((claim) => isFenced(claim.key)),
    waiting: (lease) => log({ what: "waiting", at: now(), id, lease }),
    renewed: () => held && log({ what: "renewed", id, ...sureOf(held) }),
  };
  let held: Held | undefined;
  const { ttl, wait, renew, fenced } = asked;
  const plain = claims.length === 1 && claims[0]?.mode === "exclusive";
  const more = plain ? {} : { claims };
  const keepFor = kinds === "results" ? pickKeepFor(random) : undefined;
  log({
    what: "asked",
    at: now(),
    id,
    key,
    ...more,
    wait,
    renew,
    ttl,
    lease: lease(ttl, wait),
    limit,
    fenced,
    keepFor,
  });
  const time = () => now() + (long ? random.between(300, 3500) : random.between(5, 30));
  const keys = claims.filter(({ mode }) => mode === "exclusive").map((claim) => claim.key);
  if (keepFor !== undefined)
    return share(asked, { keepFor, padding: random.chance(0.2) ? 6000 : 10 }, async (lock) => {
      held = begin(lock, id);
      await work(held, id, keys, time());
      return random.chance(0.1) ? undefined : Math.floor(random.between(0, 1e9));
    });
  const result = await session.acquire(asked).catch(unexpected);
  if (isRefused(result)) return log({ what: "refused", at: now(), id, ...result });
  held = begin(result, id);
  await work(held, id, keys, time());
  if (held.downgrade && keys.length === claims.length && random.chance(0.2)) {
    log({ what: "downgrading", at: now(), id });
    await held.downgrade().catch(() => {});
    await work(held, id, [], time());
  }
  log({ what: "releasing", at: now(), id });
  try {
    log({ what: "released", ours: await held.release(), at: now(), id });
  } catch (error) {
    log({ what: "released", at: now(), id, why: `${error}` });
  }
}

function pickKeepFor(random: Random): number {
  return random.chance(0.4) ? 0 : Math.round(random.between(50, longestKept));
}

function begin(held: Held, id: string): Held {
  const { fence, mark } = held;
  log({ what: "acquired", id, fence, mark, ...sureOf(held) });
  held.onAbort((why) => log({ what: "aborted", at: now(), id, why }));
  return held;
}

function unexpected(error: unknown): Refused {
  return { verdict: "error", why: `${error}` };
}

/**
 * Asks for a result, and works for it if nobody else does.
 * @param padding how many characters it has beside; long ones travel in another way
 * @param work gives what is to be shared; undefined where it fails
 */
async function share(
  asked: Attempt,
  { keepFor, padding }: { keepFor: number; padding: number },
  work: (held: Held) => Promise<number | undefined>,
): Promise<void> {
  const { id } = asked;
  const unkept = (why: string) => log({ what: "unkept", at: now(), id, why });
  const landed = await session
    .share?.(asked, { keepFor, unkept }, async (held): Promise<Made> => {
      const value = await work(held);
      log({ what: "releasing", at: now(), id, value });
      if (value === undefined) throw new Error("the work failed");
      return { run: id, value, padding: "é".repeat(padding) };
    })
    .catch(unexpected);
  const line = { at: now(), id };
  if (!landed) throw new Error("no results");
  if (isRefused(landed)) log({ what: "refused", ...line, ...landed });
  else if ("lost" in landed) log({ what: "released", ...line, ours: false, why: landed.lost });
  else if ("failed" in landed) log({ what: "released", ...line, why: landed.failed });
  else if (landed.made.run === id) log({ what: "released", ...line, ours: true });
  else log({ what: "given", ...line, run: landed.made.run, value: landed.made.value });
}

/**
 * What careful work does: it asks whether it may go on, and goes on; the write gets there a little later. It writes only
 * where nobody else may.
 */
async function work(held: Held, id: string, keys: string[], until: number): Promise<void> {
  do {
    const sure = sureOf(held);
    if (held.aborted()) return;
    log({ what: "access", id, ...sure });
    await sleep(2);
    for (const key of keys) {
      if (!(await resource.write({ key, id, fence: held.fence, checked: sure.at }))) return;
    }
    await sleep(5);
  } while (now() < until);
}

function sureOf(held: Held): { at: number; sure: number; read: number } {
  const at = now();
  const sure = held.sure();
  return { at, sure, read: now() };
}

/** A process that gets no turn may give up requests that nothing befell. */
function watchLoop(): NodeJS.Timeout {
  const every = 50;
  let last = now();
  return setInterval(() => {
    const at = now();
    if (at - last > every + 100) log({ what: "late", at, ms: at - last - every });
    last = at;
  }, every);
}
