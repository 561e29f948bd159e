import fc from "fast-check";
import { expect, test } from "vitest";
import { type AdminOperation, adminScript } from "../../src/admin/script.ts";
import { type Operation, protocolScript } from "../../src/protocol/script.ts";
import { shortOwner } from "../../src/protocol/state.ts";
import { createRealEngine, type Engine } from "./engine.ts";
import { createModelEngine } from "./model.ts";
import { lockKey } from "./server.ts";

// Most histories are played on a model of the scripts, because that is fast, and `memoryLocker` runs on it. Here it has
// to give the replies, send the messages and keep the keys that the real scripts do.

const epoch = Date.UTC(2100, 0, 1);
const locks = [lockKey, "lock:{another}", "lock:{third}"];
const result = (lock: string) => `${lock}:result`;
const fence = (lock: string) => `${lock}:fence`;
const lockKeys = (lock: string) => [lock, `${lock}:operator`];
const keysOf = (lock: string, token: string) => [
  ...lockKeys(lock),
  `${lock}:waiters`,
  `${lock}:gone:${token}`,
];

type Step =
  | { pass: number }
  | { listening: string[] }
  | { command: [string, ...string[]] }
  | { script: Operation | AdminOperation; keys: string[]; args: (string | number)[] };

const tokens = Array.from({ length: 9 }, (_, i) => `0000000${i}-0000-4000-8000-000000000000`);
const owners = [
  "",
  "an:owner",
  "a b 1 2 3",
  "twenty-eight bytes and a few more",
  "ä".repeat(20),
  "🦀".repeat(9),
  "",
  "",
  "the last",
];

/** A few contenders, who meet often. Each asks for the same in all of its requests. */
const asked = [
  ["x", 1],
  ["s", 1],
  ["s", 1],
  ["2", 1],
  ["3", 2],
  ["x", 1],
  ["f", 1],
  ["f", 1],
  ["f", 1],
] as const;
const number = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 8 }) },
  { weight: 1, arbitrary: fc.integer({ min: 6, max: 8 }) },
);
const contender = number.map((number) => {
  const [mode, weight] = asked[number] as (typeof asked)[number];
  return { token: tokens[number] as string, owner: owners[number] as string, mode, weight };
});
const ttl = fc.integer({ min: 10, max: 30_000 });
/** Mostly one lock, the same; now and then two or three. */
const some = fc.oneof(
  { weight: 5, arbitrary: fc.constant<string[]>([lockKey]) },
  { weight: 2, arbitrary: fc.subarray(locks, { minLength: 1 }) },
);

/** Of a stay in the queue before. 0 for none. */
const lastTicket = fc.constantFrom(0, 0, epoch, epoch + 300, epoch + 20_000);
const deliver = fc
  .tuple(contender, fc.constantFrom(0, 0, 40, 20_000), fc.constantFrom("", "x".repeat(5000)), fc.boolean())
  .map(([{ token }, keepFor, long, fencing]): Step => {
    const keys = [...lockKeys(lockKey), result(lockKey), ...(fencing ? [fence(lockKey)] : [])];
    const mark = `mark${token.slice(0, 8)}`;
    return { script: "deliver", keys, args: [token, mark, keepFor, `:"${long}"`, fencing ? epoch + 500 : 0] };
  });

const pass = fc.record({ pass: fc.constantFrom(1, 2, 3, 20, 300, 2500, 3749, 3750, 5000, 20_000, -4000) });
const join = fc
  .tuple(contender, some, ttl, fc.constantFrom("", "0", "0", "3", "70", "900"), fc.boolean(), lastTicket)
  .map(([{ token, owner, mode, weight }, chosen, ttl, ago, fencing, ticket]): Step => {
    // A result is that of one lock.
    const some = mode === "f" ? chosen.slice(0, 1) : chosen;
    const results = mode === "f" ? some.map(result) : [];
    const short = ago === "" && mode === "x" ? owner : shortOwner(owner);
    return {
      script: "join",
      keys: [...some.flatMap((lock) => keysOf(lock, token)), ...(fencing ? some.map(fence) : []), ...results],
      args: [
        ttl,
        some.length > 1 ? "" : ago,
        short,
        ...some.flatMap(() => [token, mode, weight]),
        ...results.map(() => ticket),
      ],
    };
  });
const release = fc.tuple(contender, some).map(([{ token }, some]): Step => {
  return { script: "release", keys: some.flatMap(lockKeys), args: [0, ...some.map(() => token)] };
});
const dequeue = fc
  .tuple(contender, some, fc.constantFrom(0, 0, 4000))
  .map(([{ token }, some, mark]): Step => {
    const keys = some.flatMap((lock) => keysOf(lock, token));
    return { script: "release", keys, args: [mark, ...some.map(() => token)] };
  });
const extend = fc
  .tuple(contender, some, ttl, fc.boolean(), fc.constantFrom(0, 1), fc.constantFrom("", "", "s"))
  .map(([{ token, mode }, some, ttl, keep, resumed, next]): Step => {
    const change = [token, ttl, keep ? `${token}.kept` : token, mode === "x" ? next : ""];
    return { script: "extend", keys: some.flatMap(lockKeys), args: [resumed, ...some.flatMap(() => change)] };
  });
const value = fc.oneof(
  contender.map(({ token, owner }) => `s2:${token}:300:4102444800000:${owner}`),
  fc.constantFrom("a foreigner's", "s2:", "s2!", "s2!1 2", "sl:00000001-0000-4000-8000-000000000000:300:"),
);
const take = fc
  .tuple(fc.constantFrom(lockKey, ...locks), value, ttl, fc.boolean())
  .map(([lock, value, ttl, get]): Step => {
    return { command: ["SET", lock, value, "NX", ...(get ? ["GET"] : []), "PX", `${ttl}`] };
  });
const listening = fc
  .array(contender, { maxLength: 6 })
  .map((some): Step => ({ listening: some.map(({ token }) => `sl:${token.slice(0, 18)}`) }));
const remove = fc.constant<Step>({ command: ["DEL", lockKey] });

const lockOf = fc.constantFrom(lockKey, ...locks);
const look = fc.subarray(locks, { minLength: 1 }).map((some): Step => {
  const keys = some.flatMap((lock) => [...lockKeys(lock), `${lock}:waiters`, fence(lock)]);
  return { script: "look", keys, args: [] };
});
const named = fc.oneof(
  fc.constantFrom(...tokens, ...tokens.flatMap((token) => [token, `${token}.kept`, `${token}.ended`])),
  fc.constantFrom("=a foreigner's", "=s2:"),
);
const finish = fc
  .tuple(lockOf, fc.constantFrom("safe", "safe", "now"), fc.array(named, { minLength: 3, maxLength: 12 }))
  .map(([lock, how, named]): Step => {
    return { script: "finish", keys: [...lockKeys(lock), `${lock}:waiters`], args: [how, ...named] };
  });
const steer = fc
  .tuple(lockOf, fc.constantFrom("-", "-", "", "1", "3"), fc.constantFrom("-", "", "", "1"))
  .map(([lock, limit, pause]): Step => {
    return { script: "steer", keys: lockKeys(lock), args: [limit, pause] };
  });

const step: fc.Arbitrary<Step> = fc.oneof(
  ...[pass, dequeue, take, remove, look, steer].map((arbitrary) => ({
    weight: 1,
    arbitrary,
  })),
  ...[listening, release].map((arbitrary) => ({ weight: 2, arbitrary })),
  ...[extend, finish].map((arbitrary) => ({ weight: 4, arbitrary })),
  { weight: 4, arbitrary: deliver },
  { weight: 7, arbitrary: join },
);

/** All that is there. */
async function stateOf({ command }: Engine): Promise<unknown[]> {
  const keys = ((await command("KEYS", "*")) as string[]).sort();
  return Promise.all(keys.map(async (key) => [key, await command("PTTL", key), await command("GET", key)]));
}

function commandOf(step: Extract<Step, { command: unknown } | { script: unknown }>): [string, ...string[]] {
  if ("command" in step) return step.command;
  const { script, keys, args } = step;
  const text = ["look", "finish", "steer"].includes(script) ? adminScript() : protocolScript();
  return ["EVAL", text, `${keys.length}`, ...keys, ...args.map(String), script];
}

async function trace(engine: Engine, steps: Step[]): Promise<unknown[]> {
  const seen: unknown[] = [];
  await engine.command("FLUSHALL");
  engine.now = epoch;
  engine.listening = new Set();
  engine.onPublish = (channel, message) => seen.push({ channel, message });
  for (const step of steps) {
    if ("pass" in step) {
      // What has expired is gone, and a clock that is set back does not bring it back.
      await engine.command("KEYS", "*");
      engine.now += step.pass;
      continue;
    }
    if ("listening" in step) {
      engine.listening = new Set(step.listening);
      continue;
    }
    const result = await engine.command(...commandOf(step)).catch((error: Error) => error.message);
    await new Promise(setImmediate);
    seen.push({ step, result, state: await stateOf(engine) });
  }
  return seen;
}

const patience = { timeout: 300_000 };

test(
  "the model of the scripts gives the replies, sends the messages and keeps the keys that the real ones do",
  patience,
  async () => {
    const [real, model] = [await createRealEngine(), createModelEngine()];
    const seen = {
      alone: 0,
      others: 0,
      fences: 0,
      beside: 0,
      together: 0,
      several: 0,
      severalFences: 0,
      results: 0,
      told: 0,
      stale: 0,
    };
    const steered = { paused: 0, limited: 0, ended: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: "max" }), async (steps) => {
        const wanted = await trace(real, steps);
        expect(await trace(model, steps)).toEqual(wanted);
        const messages = wanted.flatMap((each) => (each as { message?: string }).message ?? []);
        seen.others += messages.filter((message) => message.endsWith("!")).length;
        seen.alone += messages.filter((message) => /^\d+:/.test(message)).length;
        const all = JSON.stringify(wanted);
        seen.told += messages.filter((message) => message.startsWith("=r1:")).length;
        seen.results += /"result":\[2,"r1:/.test(all) ? 1 : 0;
        seen.stale += /:[1-9]\d*:[1-9]\d*::/.test(all) ? 1 : 0;
        seen.fences += all.includes(`${fence(lockKey)}"`) ? 1 : 0;
        seen.together += /\\nh [^"]*\\nh /.test(all) ? 1 : 0;
        seen.several += /"result":\[1,0,"[^"]+","/.test(all) ? 1 : 0;
        seen.severalFences += /"result":\[1,[1-9]\d*,"[^"]+","/.test(all) ? 1 : 0;
        steered.paused += /"s2!\d+ \d+"/.test(all) ? 1 : 0;
        steered.limited += /:operator",-1,"\d:/.test(all) ? 1 : 0;
        steered.ended += /h [\w-]+\.ended /.test(all) ? 1 : 0;
        steered.refused += /"script":"extend".{0,600}"result":\[[^\]]*-1/.test(all) ? 1 : 0;
        seen.beside += all.includes(`["${lockKey}:waiters",`) ? 1 : 0;
      }),
      { numRuns: 1000 },
    );
    for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(20);
    for (const [what, times] of Object.entries(steered)) expect(times, what).toBeGreaterThan(5);
  },
);
