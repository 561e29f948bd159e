import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { engines } from "./engines.ts";

// What the embedded engine is given is held to what a Redis has by itself: the same commands in turn, on both.

const native = engines.find(({ name }) => /^redis 8/.test(name));

const id = fc.integer({ min: 1, max: 12 }).map(String);
const mode = fc.constantFrom([], ["KEEPREF"], ["DELREF"], ["ACKED"]);
const sign = fc.constantFrom([], ["="], ["~"]);
const trim = fc.oneof(
  fc.tuple(fc.constant("MAXLEN"), sign, fc.nat(6).map(String)),
  fc.tuple(fc.constant("MINID"), sign, id),
);
const options = fc
  .tuple(mode, trim, fc.boolean())
  .map(([words, [by, given, threshold], first]) =>
    first ? [...words, by, ...given, threshold] : [by, ...given, threshold, ...words],
  );
const group = fc.constantFrom("g", "h");
/** In an XADD's place for an id stands `next`: ids have to rise. */
const command = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.oneof(fc.constant([]), options).map((words) => ["XADD", "s", ...words, "next", "a", "b"]),
  },
  { weight: 3, arbitrary: options.map((words) => ["XTRIM", "s", ...words]) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(group, fc.constantFrom("1", "2"))
      .map(([name, count]) => ["XREADGROUP", "GROUP", name, "c", "COUNT", count, "STREAMS", "s", ">"]),
  },
  { weight: 2, arbitrary: fc.tuple(group, id).map(([name, one]) => ["XACK", "s", name, one]) },
  fc.tuple(group, mode, id).map(([name, words, one]) => ["XACKDEL", "s", name, ...words, "IDS", "1", one]),
  fc.tuple(mode, id).map(([words, one]) => ["XDELEX", "s", ...words, "IDS", "1", one]),
  id.map((one) => ["XDEL", "s", one]),
);

describe.skipIf(!native)("streams of the embedded engine (needs `npm run engines`)", () => {
  const closers: (() => Promise<unknown>)[] = [];
  let servers: DevServer[];
  beforeAll(async () => {
    const backend = await (native as typeof native & object).open();
    servers = [await startDevServer(), await startDevServer({ redis: backend.redis })];
    closers.push(...servers.map(({ close }) => close), backend.close);
  });
  afterAll(async () => {
    for (const close of closers) await close();
  });

  test("are trimmed and shrink as those of Redis 8.6, whatever their groups wait for", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 3, maxLength: 25 }), async (commands) => {
        let next = 0;
        const body = JSON.stringify([
          ["FLUSHALL"],
          ["XADD", "s", "0-1", "a", "b"],
          ["XGROUP", "CREATE", "s", "g", "0"],
          ["XGROUP", "CREATE", "s", "h", "0"],
          ...commands.map((words) => words.map((word) => (word === "next" ? `${++next}` : word))),
          ["XRANGE", "s", "-", "+"],
          ["XPENDING", "s", "g"],
          ["XPENDING", "s", "h"],
        ]);
        const [embedded, own] = await Promise.all(
          servers.map(async ({ url, token }) => {
            const headers = { authorization: `Bearer ${token}` };
            return (await fetch(`${url}/pipeline`, { method: "POST", headers, body })).json();
          }),
        );
        expect(embedded).toEqual(own);
      }),
      { numRuns: 500 },
    );
  });
});
