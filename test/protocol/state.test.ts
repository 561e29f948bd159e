import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodePlain,
  decodeState,
  encodePlain,
  encodeState,
  isHeldBy,
  isState,
  ownerRoom,
  type State,
  shortOwner,
} from "../../src/protocol/state.ts";

const time = fc.integer({ min: 0, max: 9_999_999_999_999 });
/** As the options take it: anything but control characters and half a surrogate pair. */
const owner = fc
  .string({ unit: "grapheme", maxLength: 60 })
  .map((text) => text.replace(/[^ -~\xa0-\uffff]/g, ""))
  .filter((text) => text.isWellFormed());
const token = fc.uuid().map((text) => text.replaceAll("-", ""));
const entry = {
  token: fc.oneof(
    token,
    token.map((text) => `${text}.kept`),
  ),
  mode: fc.constantFrom("x", "s", "1", "100000"),
  weight: fc.integer({ min: 1, max: 100_000 }),
  until: time,
  since: time,
  owner: owner.map(shortOwner),
};
const state: fc.Arbitrary<State> = fc
  .record({
    ticket: time,
    until: time,
    holders: fc.array(fc.record({ ...entry, ticket: fc.constant(0) }), { maxLength: 4 }),
    waiters: fc.array(fc.record({ ...entry, token, ticket: time }), { maxLength: 6 }),
  })
  .filter(({ holders, waiters }) => holders.length + waiters.length > 0);

test("a plain value is read as it was written", () => {
  const plain = fc.record({ token: entry.token, lease: time, since: time, owner });
  fc.assert(
    fc.property(plain, (value) => {
      expect(decodePlain(encodePlain(value))).toEqual(value);
    }),
  );
});

test("a state is read as it was written, and is told from a plain value", () => {
  fc.assert(
    fc.property(state, (value) => {
      const text = encodeState(value);
      expect(decodeState(text)).toEqual(value);
      expect([isState(text), decodePlain(text)]).toEqual([true, undefined]);
    }),
  );
});

test("a plain value is its holder's, whatever its lease", () => {
  const plain = fc.record({ token, lease: time, since: time, owner });
  fc.assert(
    fc.property(plain, token, (value, stranger) => {
      expect(isHeldBy(encodePlain(value), value.token)).toBe(true);
      expect(isHeldBy(encodePlain(value), stranger)).toBe(stranger === value.token);
    }),
  );
});

test("a state is held by those of its holders' lines, and by nobody else", () => {
  fc.assert(
    fc.property(state, token, (value, stranger) => {
      const text = encodeState(value);
      for (const { token } of value.holders) expect(isHeldBy(text, token)).toBe(true);
      const holders = value.holders.map(({ token }) => token);
      for (const other of [stranger, ...value.waiters.map(({ token }) => token)])
        expect(isHeldBy(text, other)).toBe(holders.includes(other));
    }),
  );
});

test("a line with a cut owner takes at most 120 bytes", () => {
  fc.assert(
    fc.property(state, (value) => {
      for (const line of encodeState(value).split("\n"))
        expect(new TextEncoder().encode(line).length).toBeLessThanOrEqual(120);
    }),
  );
});

test("an owner is cut between two characters, and no sooner than it must be", () => {
  fc.assert(
    fc.property(owner, (text) => {
      const short = shortOwner(text);
      const bytes = (part: string) => new TextEncoder().encode(part).length;
      expect(text.startsWith(short)).toBe(true);
      expect(short.isWellFormed()).toBe(true);
      expect(bytes(short)).toBeLessThanOrEqual(ownerRoom);
      const [next = ""] = text.slice(short.length);
      if (next)
        expect(bytes(short + String.fromCodePoint(text.codePointAt(short.length) ?? 0))).toBeGreaterThan(
          ownerRoom,
        );
    }),
  );
});

test.each([
  "",
  "a foreigner's",
  "s2:",
  "s2!",
  "s2!1 2\n",
  "s2!1 2\nx y",
  "s2!1 2 1\nh t x 1 2 3 0 ",
  "sl:7b1c0f52-0000-4000-8000-000000000000:10000:an owner",
  "sl!7b1c0f52-0000-4000-8000-000000000000:10000:",
])("what another library or another version wrote is neither a plain value nor a state: %j", (value) => {
  expect([decodePlain(value), decodeState(value)]).toEqual([undefined, undefined]);
});

test("the state of a paused lock has no lines", () => {
  const paused = { ticket: 1, until: 2, holders: [], waiters: [] };
  expect(encodeState(paused)).toBe("s2!1 2");
  expect(decodeState("s2!1 2")).toEqual(paused);
});
