import fc from "fast-check";
import { expect, test } from "vitest";
import { protocolScript } from "../../src/protocol/script.ts";
import { decodeState } from "../../src/protocol/state.ts";
import { createMemoryRedis } from "../../src/testing/memory-redis.ts";

/** In ms: when one asks, how long until its request to stand in the queue is sent, and how long that takes. */
const visit = fc.record({
  asked: fc.double({ min: 0, max: 60, noNaN: true }),
  first: fc.double({ min: 0, max: 40, noNaN: true }),
  way: fc.double({ min: 0, max: 10, noNaN: true }),
});

test("nobody passes one that stood in the queue before it asked, and who clearly asked earlier is served earlier", () => {
  fc.assert(
    fc.property(fc.array(visit, { minLength: 2, maxLength: 12 }), (visits) => {
      let now = 0;
      const epoch = 1_800_000_000_000;
      const redis = createMemoryRedis({ now: () => Math.floor(epoch + now), publish: () => 0 });
      redis.command("SET", "k", "s2:holder:60000:1:", "NX", "PX", "60000");
      const all = visits
        .map((each, i) => ({ ...each, token: `t${i}`, stood: each.asked + each.first + each.way }))
        .sort((a, b) => a.stood - b.stood);
      for (const { token, first, stood } of all) {
        now = stood;
        const keys = ["k", "k:operator", "k:waiters", `k:gone:${token}`];
        redis.command(
          "EVAL",
          protocolScript(),
          "4",
          ...keys,
          "1000",
          `${Math.floor(first)}`,
          "",
          ...[token, "x", "1"],
          "join",
        );
      }
      const queue = decodeState(`${redis.command("GET", "k")}`)?.waiters.map(({ token }) => token) ?? [];
      expect(queue).toHaveLength(all.length);
      const place = ({ token }: { token: string }) => queue.indexOf(token);
      for (const one of all) {
        for (const other of all) {
          if (one.stood + 1 < other.asked) expect(place(one)).toBeLessThan(place(other));
        }
      }
    }),
    { numRuns: 2000 },
  );
});

test("one whose first request was slow stands before those that asked after it", () => {
  const redis = createMemoryRedis({ now: () => 1_800_000_000_000, publish: () => 0 });
  redis.command("SET", "k", "another library's", "NX", "PX", "60000");
  const join = (token: string, ago: number) =>
    redis.command(
      "EVAL",
      protocolScript(),
      "4",
      "k",
      "k:operator",
      "k:waiters",
      `k:gone:${token}`,
      "1000",
      `${ago}`,
      "",
      ...[token, "x", "1"],
      "join",
    );
  join("first", 0);
  join("slow", 200);
  join("last", 3);
  const queue = decodeState(`${redis.command("GET", "k:waiters")}`);
  expect(queue?.waiters.map(({ token }) => token)).toEqual(["slow", "first", "last"]);
});
