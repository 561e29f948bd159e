import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LockOptionError } from "../../src/index.ts";
import { keyOf, nameOf } from "../../src/web-locks/names.ts";

describe("a web lock's name", () => {
  test.each(["order:42", "a b", "x-anything", "ключ", "🔒", "abc\0def", "\uffff", "%0041"])(
    "%j is the lock's key as it is",
    (name) => {
      expect(keyOf(name)).toBe(name);
    },
  );

  test.each([
    ["", "-"],
    ["\ud800", "-%d800"],
    ["\udc00\ud800", "-%dc00%d800"],
    ["user:undefined", "-user%003aundefined"],
    ["[object Object]", "-%005bobject%0020Object%005d"],
  ])("%j, which is no key, is the key %j", (name, key) => {
    expect(keyOf(name)).toBe(key);
    expect(nameOf(key)).toBe(name);
  });

  test("is told from every other by its key", () => {
    const unit = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code));
    const odd = fc.constantFrom("\ud800", "\udc00", "%", "-", "a", "undefined", ":", "d800");
    const name = fc
      .array(fc.oneof(odd, unit), { maxLength: 8 })
      .map((parts) => parts.join(""))
      .filter((text) => !text.startsWith("-"));
    fc.assert(
      fc.property(name, (text) => {
        expect(nameOf(keyOf(text))).toBe(text);
      }),
    );
  });

  test.each(["-foo", "--", "-%zzzz", "-%0061", "-%002d"])("is not what the key %j stands for", (key) => {
    expect(nameOf(key)).toBeUndefined();
  });

  test("may have up to 1024 characters", () => {
    expect(keyOf("a".repeat(1024))).toHaveLength(1024);
    expect(() => keyOf("a".repeat(1025))).toThrow(LockOptionError);
  });
});
