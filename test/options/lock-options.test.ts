import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createLocker, LockError, type LockerOptions, LockOptionError } from "../../src/index.ts";

const at = { url: "https://redis.example", token: "a-token" };
const fail = async (run: () => unknown) => {
  try {
    await run();
  } catch (error) {
    return error as LockOptionError;
  }
  throw new Error("nothing was refused");
};
// Nothing listens there: were a request sent, the error would be another.
const locker = createLocker({ url: "http://127.0.0.1:9", token: "a-token" });

describe("a wrong option is refused before any request, naming it, what came and what fits", () => {
  const wrong: [option: string, value: unknown, given: RegExp, fits: RegExp][] = [
    ["ttl", 0, /got 0,/, /10ms to 24h/],
    ["ttl", -5, /got -5,/, /10ms to 24h/],
    ["ttl", Number.NaN, /got NaN,/, /10ms to 24h/],
    ["ttl", "10 parsecs", /got "10 parsecs",/, /"500ms", "10s"/],
    ["ttl", "25h", /got "25h",/, /24h/],
    ["ttl", Number.POSITIVE_INFINITY, /got Infinity,/, /24h/],
    ["ttl", null, /got null,/, /24h/],
    ["wait", -1, /got -1,/, /0 to 24h/],
    ["wait", "soon", /got "soon",/, /0 to 24h/],
    ["holdFor", "2 weeks", /got "2 weeks",/, /31d/],
    ["renew", "yes", /got "yes",/, /true or false/],
    ["fencing", 1, /got 1,/, /true or false/],
    ...[-1, 0.5, 101, "1", null, true].map((value): (typeof wrong)[number] => [
      "replicas",
      value,
      new RegExp(`got ${JSON.stringify(value)},`),
      /whole number from 0 to 100/,
    ]),
    ["owner", "x".repeat(201), /got "xxx/, /200 characters/],
    ["owner", "two\nlines", /two\\nlines/, /no control characters/],
    ["signal", {}, /got .* object,/, /AbortSignal/],
    ["signal", { aborted: false, addEventListener() {} }, /got .* object,/, /AbortSignal/],
    ["ifUnavailable", "ignore", /got "ignore",/, /"throw" or "proceed"/],
    ["prefix", 5, /got 5,/, /a text/],
    ["requestTimeout", 0, /got 0,/, /10ms to 60s/],
    ["onEvent", "log", /got "log",/, /a function/],
    ["deadline", null, /got null,/, /a function/],
    ["deadline", "5s", /got "5s",/, /ms/],
    ["deadline", "", /got "",/, /ms/],
    ["deadline", 5n, /got 5,/, /ms/],
    ["deadline", Symbol("ms"), /got Symbol\(ms\),/, /ms/],
    ["deadline", Object.create(null), /got some object,/, /ms/],
    ["ttl", Symbol("a\nb"), /got Symbol\(a.b\),/, /10ms to 24h/],
    ["tll", 5, /unknown option/, /one of ttl, wait/],
  ];
  test.each(wrong)("%s: %o", async (option, value, given, fits) => {
    const options = { [option]: value };
    const errors = [
      await fail(() => createLocker({ ...at, ...options } as LockerOptions)),
      await fail(() => locker.acquire("key", options)),
      await fail(() => locker.withLock("key", options, () => {})),
    ];
    for (const error of errors) {
      expect(error).toBeInstanceOf(LockOptionError);
      expect(error).toBeInstanceOf(LockError);
      const what = { code: "LOCK_OPTION", option, name: "LockOptionError" };
      expect(error).toMatchObject({ ...what, statusCode: 500, expose: false, headers: {}, key: undefined });
      expect(error.message).toMatch(new RegExp(`^${option}: `));
      expect(error.message).toMatch(given);
      expect(error.message).toMatch(fits);
    }
  });

  test.each([
    ["an empty key", ""],
    ["no key", undefined],
    ["a number", 42],
    ["an object", {}],
    ["an over-long key", "x".repeat(1025)],
  ])("%s", async (_, key) => {
    const error = await fail(() => locker.acquire(key as string));
    expect(error).toMatchObject({ code: "LOCK_OPTION", option: "key" });
    expect(error.message.length).toBeLessThan(200);
  });

  test.each([
    ["no url beside a token", { token: "t" }, "url", /got undefined.*UPSTASH_REDIS_REST_URL/],
    ["no token", { url: at.url }, "token", /got undefined.*UPSTASH_REDIS_REST_TOKEN/],
    ["an empty token", { url: at.url, token: "" }, "token", /got ""/],
    ["a token over two lines", { url: at.url, token: "sec\nret" }, "token", /no header takes/],
    ["a url that is none", { url: "not a url", token: "t" }, "url", /got "not a ur…"/],
    [
      "a Redis protocol url",
      { url: "rediss://default:secret@x.upstash.io:6379", token: "t" },
      "url",
      /rediss:/,
    ],
    ["a token in place of the url", { url: "AXsecretsecretsecretsecret", token: "t" }, "url", /"AXsecret…"/],
    [
      "a url with a token in it",
      { url: "https://x.upstash.io?_token=secret", token: "t" },
      "url",
      /without blanks, user or query/,
    ],
    ["redis and url at once", { redis: { exec: async () => 0 }, url: at.url }, "redis", /either/],
    ["a redis that is none", { redis: {} as never }, "redis", /@upstash\/redis/],
  ])("%s", async (_, options, option, message) => {
    const error = await fail(() => createLocker(options as LockerOptions));
    expect(error).toMatchObject({ code: "LOCK_OPTION", option });
    expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/secretsecret|:secret|=secret|ret\b.*line/);
  });

  test.each([
    ["rubbish", "rubbish"],
    ["nothing", undefined],
    ["half of it", { key: "k", token: "secret" }],
  ])("a handle that is %s", async (_, handle) => {
    const error = await fail(() => locker.resume(handle as string));
    expect(error).toMatchObject({ code: "LOCK_OPTION", option: "handle" });
    expect(error.message).not.toContain("secret");
  });

  test.each([
    ["a list", []],
    ["a signal", new AbortController().signal],
    ["a Map", new Map([["ttl", 5000]])],
    ["a promise", Promise.resolve({ ttl: 5000 })],
  ])("options that are %s", async (_, options) => {
    for (const ask of [
      () => createLocker(options as never),
      () => locker.acquire("key", options as never),
      () => locker.withLock("key", options as never, () => {}),
    ])
      expect((await fail(ask)).message).toBe("options: got some object, expected an object");
  });

  test("no work", async () => {
    expect(await fail(() => locker.withLock("key", undefined as never))).toMatchObject({ option: "work" });
  });
});

test("an explicit undefined means the default, and the caller's options stay as they are", async () => {
  const options = Object.freeze({
    ...at,
    ttl: undefined,
    wait: undefined,
    prefix: undefined,
    onEvent: undefined,
  });
  expect(() => createLocker(options)).not.toThrow();
});

describe("the environment", () => {
  const names = [
    "UPSTASH_REDIS_REST_URL",
    "UPSTASH_REDIS_REST_TOKEN",
    "KV_REST_API_URL",
    "KV_REST_API_TOKEN",
  ];
  beforeEach(() => {
    for (const name of names) vi.stubEnv(name, undefined);
  });
  afterEach(() => void vi.unstubAllEnvs());

  test("is read when the first lock is taken, so that a module loads without it", async () => {
    const locker = createLocker();
    for (const use of [() => locker.acquire("k"), () => locker.withLock("k", () => {})])
      expect(await fail(use)).toMatchObject({ code: "LOCK_OPTION", option: "url" });
    vi.stubEnv("UPSTASH_REDIS_REST_URL", "no url");
    expect(await fail(() => locker.acquire("k"))).toMatchObject({ option: "url" });
    vi.stubEnv("UPSTASH_REDIS_REST_URL", "http://127.0.0.1:9");
    expect(await fail(() => locker.acquire("k"))).toMatchObject({ option: "token" });
    vi.stubEnv("UPSTASH_REDIS_REST_TOKEN", "t");
    expect(await fail(() => locker.acquire("k", { requestTimeout: 50 }))).toMatchObject({
      code: "LOCK_UNAVAILABLE",
    });
  });

  test("may be that of Vercel's KV", async () => {
    vi.stubEnv("KV_REST_API_URL", "http://127.0.0.1:9");
    vi.stubEnv("KV_REST_API_TOKEN", "t");
    const failure = await fail(() => createLocker().acquire("k", { requestTimeout: 50 }));
    expect(failure).toMatchObject({ code: "LOCK_UNAVAILABLE" });
  });
});
