import { inspect } from "node:util";
import { expect, test } from "vitest";
import * as errors from "../src/errors.ts";
import { memoryLocker } from "../src/testing/index.ts";

const { LockBusyError, LockError, LockLostError, LockOptionError, LockUnavailableError } = errors;

const one = {
  LockBusyError: new LockBusyError("k", {}),
  LockLostError: new LockLostError("k", "its lease ended"),
  LockUnavailableError: new LockUnavailableError("k", new Error("no reply")),
  LockOptionError: new LockOptionError("ttl", "5", "6"),
};

test("two copies of the package know each other's errors, and tell them apart", async () => {
  // A module with another query is loaded anew, as by a second bundle.
  const others: typeof errors = await import("../src/errors.ts?another copy" as string);
  expect(others.LockBusyError).not.toBe(LockBusyError);
  for (const [name, error] of Object.entries(one)) {
    expect(error).toBeInstanceOf(others.LockError);
    for (const other of Object.keys(one) as (keyof typeof one)[])
      expect(error instanceof others[other], `${name} instanceof ${other}`).toBe(name === other);
  }
});

test("what is no error of the package is none", () => {
  for (const value of [undefined, null, 5, "LOCK_BUSY", {}, { code: "LOCK_BUSY" }, new TypeError("x")])
    expect((value as unknown) instanceof LockError, inspect(value)).toBe(false);
});

test("a user's own class of errors has its own errors alone", () => {
  class OutOfStock extends LockBusyError {}
  const mine = new OutOfStock("k", {});
  expect(mine).toBeInstanceOf(OutOfStock);
  expect(mine).toBeInstanceOf(LockBusyError);
  expect(one.LockBusyError).not.toBeInstanceOf(OutOfStock);
});

test("an option error is a LockError in truth", () => {
  const error: InstanceType<typeof LockError> = one.LockOptionError;
  expect(error).toMatchObject({ statusCode: 500, expose: false, headers: {}, key: undefined, option: "ttl" });
});

test("no message names a key, which errors have at `key`", async () => {
  const key = "order:1\nINFO payment accepted \u001b[2K\u009b2K";
  const locker = memoryLocker({ ttl: 200 });
  const lock = await locker.acquire(key);
  const busy = await locker.acquire(key).catch((error) => error);
  await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
  for (const error of [busy, lock.signal.reason, new LockUnavailableError(key, new Error("x"))]) {
    expect(error.key).toBe(key);
    expect(error.message).not.toContain("order");
  }
});

test("an option error shows what was given without line breaks and terminal codes", async () => {
  const { message } = await memoryLocker()
    .acquire("a", { owner: "a\nb\u001b[2K\u009b2K\u2028" })
    .catch((error) => error);
  expect([...message].every((letter) => letter >= " " && !/[\x7f-\x9f\u2028]/.test(letter))).toBe(true);
});
