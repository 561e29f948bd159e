import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { engines } from "./engines.ts";

// What is made up is held to what a Redis has by itself: the same commands in turn, on both.

const values = fc.constantFrom("", "1", "a", "hello", "IFEQ", "é", "x".repeat(100), "x".repeat(300));
const DIGESTS = ["2d06800538d394c2", "9555e8555c62dcfd", "9555E8555C62DCFD", "zzzzzzzzzzzzzzzz", "abc", ""];
const key = fc.constantFrom("a", "b", "list");
const condition = fc.oneof(
  fc.tuple(fc.constantFrom("IFEQ", "ifne", "IFNE"), values),
  fc.tuple(fc.constantFrom("IFDEQ", "IFDNE", "ifdne"), fc.constantFrom(...DIGESTS)),
);
const option = fc.oneof(
  { arbitrary: condition, weight: 4 },
  {
    arbitrary: fc.constantFrom(
      ...[["NX"], ["XX"], ["xx"], ["GET"], ["KEEPTTL"], ["EX", "100"], ["PX", "100000"], ["EX", "soon"]],
      ...[["EX", "0"], ["EX"], ["nonsense"], ["IFEQ"], ["PXAT", "9999999999999"]],
    ),
    weight: 3,
  },
);
const command = fc.oneof(
  {
    arbitrary: fc
      .tuple(key, values, condition, fc.array(option, { maxLength: 3 }), fc.nat(3))
      .map(([name, value, one, options, at]) => [
        "SET",
        name,
        value,
        ...options.toSpliced(at, 0, one).flat(),
      ]),
    weight: 6,
  },
  {
    arbitrary: fc
      .tuple(
        key,
        fc.array(fc.oneof(condition, fc.constantFrom(["NX", "1"], ["IFEQ"], ["x"])), { maxLength: 2 }),
      )
      .map(([name, conditions]) => ["DELEX", name, ...conditions.flat()]),
    weight: 4,
  },
  key.map((name) => ["DIGEST", name]),
  key.map((name) => ["GET", name]),
  key.map((name) => ["TTL", name]),
);

/** Redis 8.6.3 answers each of these twice, to whoever uses its connection. */
const ANSWERED_TWICE = [
  ["SET", "a", "y", "IFDEQ", "zz", "GET"],
  ["set", "a", "y", "get", "ifdne", ""],
  ["SET", "a", "y", "EX", "100", "IFDNE", "é".repeat(9), "GET"],
];

const native = engines.find(({ name }) => /^redis 8/.test(name));
const others = engines.filter((engine) => engine !== native);

describe.each(others)("conditions made up on $name answer as Redis 8.6 does", ({ available, open }) => {
  describe.skipIf(!available || !native)("(needs the engine and `npm run engines`)", () => {
    const closers: (() => Promise<unknown>)[] = [];
    let servers: DevServer[];
    beforeAll(async () => {
      const backends = await Promise.all([open(), (native as typeof native & object).open()]);
      servers = await Promise.all(backends.map(({ redis }) => startDevServer({ redis })));
      closers.push(...servers.map(({ close }) => close), ...backends.map(({ close }) => close));
    });
    afterAll(async () => {
      for (const close of closers) await close();
    });

    const send = async ({ url, token }: DevServer, commands: unknown[][], path = "/pipeline") => {
      const headers = { authorization: `Bearer ${token}` };
      const body = JSON.stringify([["FLUSHALL"], ["RPUSH", "list", "x"], ...commands]);
      return (await fetch(url + path, { method: "POST", headers, body })).json();
    };
    const expectAlike = async (commands: unknown[][]) => {
      const [madeUp, own] = await Promise.all(servers.map((server) => send(server, commands)));
      expect(madeUp).toEqual(own);
    };

    test("in requests", async () => {
      await fc.assert(fc.asyncProperty(fc.array(command, { minLength: 1, maxLength: 8 }), expectAlike), {
        numRuns: 300,
      });
    });

    test("in scripts", async () => {
      const script = `
        local reply = redis.pcall(unpack(ARGV))
        if type(reply) == "table" and reply.err then return "error " .. reply.err:gsub(" script:.*", "") end
        return reply`;
      const inScript = command.map((words) => ["EVAL", script, "0", ...words]);
      await fc.assert(fc.asyncProperty(fc.array(inScript, { minLength: 1, maxLength: 8 }), expectAlike), {
        numRuns: 200,
      });
    });

    test.each(["/pipeline", "/multi-exec"])("with one answer to each command, by %s", async (path) => {
      for (const command of ANSWERED_TWICE) {
        const commands = [["SET", "a", "x"], command, ["ECHO", "next"]];
        const [madeUp, own] = await Promise.all(servers.map((server) => send(server, commands, path)));
        expect(own).toEqual([
          ...Array(2).fill(expect.anything()),
          { result: "OK" },
          { result: "x" },
          { result: "next" },
        ]);
        expect(madeUp).toEqual(own);
      }
    });

    test("for values of every length that XXH3 treats apart", async () => {
      const lengths = [
        ...Array(20).keys(),
        31,
        32,
        33,
        64,
        65,
        96,
        97,
        128,
        129,
        144,
        240,
        241,
        1024,
        1025,
        5000,
      ];
      await expectAlike(
        lengths.flatMap((length) => [
          ["SET", "k", Array.from({ length }, (_, i) => String.fromCharCode(32 + ((i * 7) % 90))).join("")],
          ["DIGEST", "k"],
        ]),
      );
    });
  });
});
