import fc from "fast-check";
import { expect, test } from "vitest";
import { extendScript } from "../../src/protocol/extend.ts";
import { joinScript } from "../../src/protocol/join.ts";
import { releaseScript } from "../../src/protocol/release.ts";
import { createRealEngine, type Engine } from "./engine.ts";
import { createModelEngine } from "./model.ts";
import { lockKey } from "./server.ts";

// Most histories are played on a model of the scripts, because that is fast. Here it has to give the replies, send
// the messages and keep the keys that the real scripts do.

const epoch = Date.UTC(2100, 0, 1);
const keysOf = (token: string) => [
  lockKey,
  `${lockKey}:queue`,
  `${lockKey}:alive`,
  `${lockKey}:gone:${token}`,
];
const fence = `${lockKey}:fence`;

const scripts = { join: joinScript, release: releaseScript, extend: extendScript };

type Step =
  | { pass: number }
  | { listening: string[] }
  | { command: [string, ...string[]] }
  | { script: keyof typeof scripts; keys: string[]; args: (string | number)[] };

/** A few contenders, who meet often. */
const contender = fc
  .record({ number: fc.integer({ min: 1, max: 5 }), mark: fc.constantFrom(":", "!") })
  .map(({ number, mark }) => {
    const token = `0000000${number}-0000-4000-8000-000000000000`;
    return { token, value: `sl${mark}${token}:300:an:owner`, kept: `sl:${token}.kept:300:an:owner` };
  });
const ttl = fc.integer({ min: 10, max: 30_000 });

const pass = fc.record({ pass: fc.constantFrom(1, 20, 300, 2500, 3749, 3750, 5000, 20_000, -4000) });
const join = fc
  .tuple(contender, ttl, fc.constantFrom("", "0", "0", "70", "900"), fc.boolean())
  .map(([{ token, value }, ttl, ago, fencing]): Step => {
    const keys = [...keysOf(token), ...(fencing ? [fence] : [])];
    return { script: "join", keys, args: [value, ttl, ago] };
  });
const release = fc
  .tuple(contender, fc.constantFrom("", "", "0", "4000"))
  .map(([{ token, value }, mark]): Step => ({ script: "release", keys: keysOf(token), args: [value, mark] }));
const extend = fc.tuple(contender, ttl, fc.boolean()).map(([{ value, kept }, ttl, keep]): Step => {
  return { script: "extend", keys: [lockKey], args: [value, keep ? kept : value, ttl] };
});
const take = fc
  .tuple(fc.oneof(contender, fc.constant({ value: "a foreigner's" })), ttl, fc.boolean())
  .map(([{ value }, ttl, get]): Step => {
    return { command: ["SET", lockKey, value, "NX", ...(get ? ["GET"] : []), "PX", `${ttl}`] };
  });
const listening = fc
  .array(contender, { maxLength: 5 })
  .map((some): Step => ({ listening: some.map(({ value }) => `sl:${value.slice(3, 21)}`) }));
const remove = fc.constant<Step>({ command: ["DEL", lockKey] });

const step: fc.Arbitrary<Step> = fc.oneof(
  ...[pass, extend, take, remove].map((arbitrary) => ({ weight: 1, arbitrary })),
  ...[listening, release].map((arbitrary) => ({ weight: 2, arbitrary })),
  { weight: 4, arbitrary: join },
);

/** All that is there. */
async function stateOf({ command }: Engine): Promise<unknown[]> {
  const keys = ((await command("KEYS", "*")) as string[]).sort();
  return Promise.all(
    keys.map(async (key) => [
      key,
      await command("PTTL", key),
      /:(queue|alive)$/.test(key)
        ? await command("ZRANGE", key, "0", "-1", "WITHSCORES")
        : await command("GET", key),
    ]),
  );
}

function commandOf(step: Extract<Step, { command: unknown } | { script: unknown }>): [string, ...string[]] {
  if ("command" in step) return step.command;
  return ["EVAL", scripts[step.script], `${step.keys.length}`, ...step.keys, ...step.args.map(String)];
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

test("the model of the scripts gives the replies, sends the messages and keeps the keys that the real ones do", async () => {
  const [real, model] = [await createRealEngine(), createModelEngine()];
  let [heard, unheard, fences] = [0, 0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: "max" }), async (steps) => {
      const seen = await trace(real, steps);
      expect(await trace(model, steps)).toEqual(seen);
      const messages = seen.flatMap((each) => (each as { message?: string }).message ?? []);
      const short = messages.filter((message) => message.endsWith("?")).length;
      heard += messages.length - short;
      unheard += short;
      fences += JSON.stringify(seen).includes(fence) ? 1 : 0;
    }),
    { numRuns: 300 },
  );
  expect(heard).toBeGreaterThan(100);
  expect(unheard).toBeGreaterThan(100);
  expect(fences).toBeGreaterThan(100);
});
