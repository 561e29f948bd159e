import { describe, expect, test } from "vitest";
import { settingsOf } from "../../src/dev/options.ts";
import { LockOptionError } from "../../src/errors.ts";

describe("the dev server's options", () => {
  test("have defaults, for an explicit undefined too", () => {
    const defaults = {
      port: 0,
      host: "127.0.0.1",
      token: expect.stringMatching(/^[\w-]{32}$/),
      readOnlyToken: expect.stringMatching(/^[\w-]{32}$/),
      redis: undefined,
      file: undefined,
      extensions: true,
      latency: 0,
      jitter: 0,
    };
    expect(settingsOf()).toEqual(defaults);
    expect(settingsOf({ port: undefined, host: undefined, token: undefined, latency: undefined })).toEqual(
      defaults,
    );
  });

  test("make a new token each time", () => {
    expect(settingsOf().token).not.toBe(settingsOf().token);
    const { token, readOnlyToken } = settingsOf();
    expect(token).not.toBe(readOnlyToken);
  });

  test("take a latency as a number or as text", () => {
    expect(settingsOf({ latency: "20ms", jitter: 5 })).toMatchObject({ latency: 20, jitter: 5 });
    expect(settingsOf({ latency: "1 s" })).toMatchObject({ latency: 1000 });
  });

  test.each([
    [{ port: 65536 }, "port: got 65536, expected an integer from 0"],
    [{ port: "80" }, 'port: got "80", expected'],
    [{ host: "" }, 'host: got "", expected an address'],
    [{ host: "http://x" }, "host: got"],
    [{ token: "" }, "token: got an unsuitable string, expected printable"],
    [{ token: "a b" }, "token: got an unsuitable string"],
    [{ token: 7 }, "token: got 7"],
    [{ redis: "localhost:6379" }, 'redis: got "localhost:6379", expected a URL such as redis://'],
    [{ redis: "https://x.upstash.io" }, "redis: got"],
    [{ token: "a", readOnlyToken: "a" }, "readOnlyToken: got the same as token, expected another one"],
    [{ readOnlyToken: "a b" }, "readOnlyToken: got an unsuitable string"],
    [{ file: "" }, 'file: got "", expected a file\'s path'],
    [{ file: "x", redis: "redis://127.0.0.1" }, "file: got beside redis, expected alone"],
    [{ extensions: "no" }, 'extensions: got "no", expected true or false'],
    [{ latency: -1 }, "latency: got -1, expected milliseconds"],
    [{ latency: "20 parsecs" }, 'latency: got "20 parsecs"'],
    [{ jitter: Number.NaN }, "jitter: got NaN"],
    [{ latency: "2m" }, 'latency: got "2m"'],
    [{ prot: 1 }, "prot: got an unknown option, expected one of port, host,"],
  ])("refuse %o and say what fits", (options, message) => {
    const attempt = () => settingsOf(options as object);
    expect(attempt).toThrow(LockOptionError);
    expect(attempt).toThrow(message);
  });

  test("keep secrets out of the messages", () => {
    expect(() => settingsOf({ redis: "http://user:hunter2@host" })).toThrow(
      /^redis: got another URL, expected/,
    );
    expect(() => settingsOf({ token: "hunter 2" })).not.toThrow(/hunter/);
    expect(() => settingsOf({ token: "hunter", readOnlyToken: "hunter" })).not.toThrow(/hunter/);
  });
});
