import { afterEach, describe, expect, test } from "vitest";
import { createDice } from "../../src/dev/fault-dice.ts";
import { readFaults } from "../../src/dev/faults.ts";
import { type FaultKind, startDevServer } from "../../src/dev/index.ts";
import { createLocker, LockBusyError, LockError } from "../../src/index.ts";
import { engines } from "./engines.ts";
import { until, useDevServer } from "./suite.ts";

// A fault is a matter of HTTP: which engine is behind makes no difference.
const suite = useDevServer(engines[0]?.open as (typeof engines)[number]["open"]);
const { run } = suite;

const send = (path: string, init: RequestInit = {}) =>
  fetch(suite.server.url + path, { headers: { authorization: `Bearer ${suite.server.token}` }, ...init });
const incr = () => send("/", { method: "POST", body: '["INCR","n"]' });
const failure = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "none",
    (error) => error.cause?.code ?? error.message,
  );
/** How often `incr` was executed; switches the faults off. */
async function executed(): Promise<number> {
  suite.server.setFaults({});
  const { result } = (await run(["GET", "n"])) as { result: string | null };
  return Number(result);
}
afterEach(() => suite.server.setFaults({}));

describe("a request", () => {
  test.each([
    ["dropRequest", 0, "UND_ERR_SOCKET"],
    ["dropReply", 1, "UND_ERR_SOCKET"],
    ["reset", 0, "ECONNRESET"],
  ] as const)("met by %s is executed %d times and breaks off (%s)", async (kind, times, code) => {
    const before = suite.server.fired()[kind];
    suite.server.setFaults({ [kind]: 1 });
    expect(await failure(incr())).toBe(code);
    expect(await failure(send("/incr/n"))).toBe(code);
    expect(suite.server.fired()[kind]).toBe(before + 2);
    // What never arrived, Upstash does not bill.
    expect(suite.server.meter().requests).toBe(2 * times);
    expect(await executed()).toBe(2 * times);
  });

  test("met by dropRequest is not reset, however large it is", async () => {
    suite.server.setFaults({ dropRequest: 1 });
    for (let i = 0; i < 5; i++) {
      const set = send("/set/a", { method: "POST", body: Buffer.alloc(5_000_000) });
      expect(await failure(set)).toBe("UND_ERR_SOCKET");
    }
    suite.server.setFaults({});
    expect(await run(["EXISTS", "a"])).toEqual({ result: 0 });
  });

  test("met by cutBody is executed, and its reply ends half-way", async () => {
    suite.server.setFaults({ cutBody: 1 });
    const response = await incr();
    expect([response.status, response.headers.get("content-length")]).toEqual([200, "12"]);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(Buffer.from((await reader.read()).value as Uint8Array).toString()).toBe('{"resu');
    expect(await failure(reader.read())).toBe("UND_ERR_SOCKET");
    expect(await executed()).toBe(1);
  });

  test.each([429, 500, 503] as const)("met by status%d is not executed and gets HTML", async (status) => {
    suite.server.setFaults({ [`status${status}`]: 1 });
    const response = await incr();
    expect([response.status, response.headers.get("content-type")]).toEqual([
      status,
      "text/html; charset=utf-8",
    ]);
    expect(await response.text()).toContain(`<h1>`);
    expect(await executed()).toBe(0);
  });

  test("met by repeat is executed twice, body and all, and gets the second reply", async () => {
    suite.server.setFaults({ repeat: 1 });
    expect(await (await incr()).json()).toEqual({ result: 2 });
    expect(await (await send("/append/text", { method: "POST", body: "ab" })).json()).toEqual({ result: 4 });
    expect(await (await send("/incr/n")).json()).toEqual({ result: 4 });
    expect(suite.server.meter()).toMatchObject({ requests: 6, commands: 6 });
  });

  test("met by delayReply is executed at once and answered later", async () => {
    suite.server.setFaults({ delayReply: 1, delay: 50 });
    const start = performance.now();
    expect(await (await incr()).json()).toEqual({ result: 1 });
    expect(performance.now() - start).toBeGreaterThanOrEqual(49);

    suite.server.setFaults({ delayReply: 1, delay: "5m" });
    const fired = suite.server.fired().delayReply;
    const gaveUp = new AbortController();
    const reply = failure(send("/incr/n", { signal: gaveUp.signal }));
    await until(() => suite.server.fired().delayReply === fired + 1);
    await until(async () => (await executed()) === 2);
    gaveUp.abort(new Error("gave up"));
    expect(await reply).toBe("gave up");
  });

  test("without the token, or about the server itself, meets none", async () => {
    suite.server.setFaults({ reset: 1, sseRefuse: 1 });
    const fired = suite.server.fired();
    for (const path of ["/get/a", "/subscribe/a", "/faults", "/meter"]) {
      expect((await send(path, { headers: {} })).status).toBe(401);
    }
    expect((await send("/meter")).status).toBe(200);
    expect((await send("/faults")).status).toBe(200);
    expect(suite.server.fired()).toEqual(fired);
  });
});

describe("an event stream", () => {
  const publish = async () => ((await run(["PUBLISH", "ch", "x"])) as { result: number }).result;
  const open = async () => {
    const response = await send("/subscribe/ch");
    return { response, reader: (response.body as ReadableStream<Uint8Array>).getReader() };
  };

  test("met by sseRefuse gets 503", async () => {
    suite.server.setFaults({ sseRefuse: 1 });
    expect((await send("/subscribe/ch")).status).toBe(503);
    expect((await send("/psubscribe/c*")).status).toBe(503);
    expect(suite.server.fired().sseRefuse).toBe(2);
  });

  test("met by sseStall is accepted, and nothing comes", async () => {
    const server = await startDevServer({ faults: { sseStall: 1 }, redis: suite.server.redisUrl });
    const response = await fetch(`${server.url}/subscribe/ch?_token=${server.token}`);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    const all = failure(response.text());
    expect(await publish()).toBe(0);
    await server.close();
    // Broken off with nothing before.
    expect(await all).toBe("UND_ERR_SOCKET");
  });

  test("met by sseCut begins as any other, and breaks off", async () => {
    suite.server.setFaults({ sseCut: 1, seed: 1 });
    const { reader } = await open();
    expect(Buffer.from((await reader.read()).value as Uint8Array).toString()).toBe(
      "data: subscribe,ch,1\n\n",
    );
    expect(await failure(reader.read())).toBe("UND_ERR_SOCKET");
    await until(async () => (await publish()) === 0);
  });

  test("meets no fault of a command, nor a command one of a stream", async () => {
    suite.server.setFaults({ reset: 1 });
    const { response, reader } = await open();
    expect(response.status).toBe(200);
    suite.server.setFaults({ sseRefuse: 1 });
    expect((await incr()).status).toBe(200);
    await reader.cancel();
  });
});

describe("the faults that are set", () => {
  /** What each of many requests met, and of streams between them. */
  async function outcomes(streams: boolean): Promise<(number | string)[]> {
    const seen: (number | string)[] = [];
    for (let i = 0; i < 100; i++) {
      if (streams && i % 3 === 0) await (await send("/subscribe/ch")).body?.cancel();
      seen.push(
        await send("/ping")
          .then(async (response) => response.text().then(() => response.status))
          .catch((error) => error.cause.code),
      );
    }
    return seen;
  }

  test("come in the same order for the same seed, streams between or not", async () => {
    const faults = { status429: 0.2, status503: 0.2, dropReply: 0.1, reset: 0.1, sseRefuse: 0.5 };
    suite.server.setFaults({ ...faults, seed: 7 });
    const first = await outcomes(false);
    expect(new Set(first)).toEqual(new Set([200, 429, 503, "UND_ERR_SOCKET", "ECONNRESET"]));
    const next = await outcomes(false);
    suite.server.setFaults({ ...faults, seed: 7 });
    expect(await outcomes(true)).toEqual(first);
    // Without a seed the sequence goes on where it was.
    suite.server.setFaults(faults);
    expect(await outcomes(false)).toEqual(next);
    suite.server.setFaults({ ...faults, seed: 8 });
    expect(await outcomes(false)).not.toEqual(first);
  });

  test("can be seen and replaced over HTTP while the server runs", async () => {
    const post = async (faults: string) => {
      const response = await send("/faults", { method: "POST", body: faults });
      return { status: response.status, body: await response.json() };
    };
    const set = await post('{"status500": 1, "seed": 5, "delay": "1s"}');
    expect(set).toEqual({
      status: 200,
      body: { set: { status500: 1, seed: 5, delay: 1000 }, fired: suite.server.fired() },
    });
    expect((await incr()).status).toBe(500);
    expect(await (await send("/faults")).json()).toEqual({
      set: set.body.set,
      fired: { ...set.body.fired, status500: set.body.fired.status500 + 1 },
    });
    // What is refused changes nothing.
    expect(await post('{"reset": 2}')).toEqual({
      status: 400,
      body: { error: "ERR reset: got 2, expected a probability from 0 to 1" },
    });
    expect((await post("{")).body).toEqual({ error: expect.stringContaining("no JSON") });
    expect((await send("/faults", { method: "POST", body: "{}", headers: {} })).status).toBe(401);
    expect((await incr()).status).toBe(500);
    expect((await post("{}")).body.set).toEqual({ seed: 5, delay: 5000 });
    expect((await incr()).status).toBe(200);
  });

  test.each([
    [{ reset: 1.1 }, "reset: got 1.1, expected a probability from 0 to 1"],
    [{ reset: "often" }, 'reset: got "often", expected a probability'],
    [{ sseCut: Number.NaN }, "sseCut: got NaN"],
    [{ status404: 1 }, "status404: got an unknown fault, expected one of dropRequest, dropReply,"],
    [{ reset: 0.5, repeat: 0.6, cutBody: 0 }, "repeat + reset: got 1.1, expected at most 1 together"],
    [{ sseCut: 0.6, sseStall: 0.6 }, "sseCut + sseStall: got 1.2"],
    [{ seed: 1.5 }, "seed: got 1.5, expected an integer from 0 to 4294967295"],
    [{ delay: "6m" }, 'delay: got "6m", expected milliseconds from 0 to 300000'],
    [null, "faults: got null, expected an object"],
    [[], "faults: got some object, expected an object"],
  ])("are refused as %o, at the start and later", async (faults, message) => {
    expect(() => suite.server.setFaults(faults as object)).toThrow(message);
    await expect(startDevServer({ faults: faults as object })).rejects.toThrow(message);
  });

  test("come as often as was asked for", () => {
    const dice = createDice(readFaults({ reset: 0.25, repeat: 0.5, sseStall: 0.1, seed: 1 }));
    for (let i = 0; i < 10_000; i++) {
      dice.request();
      expect(dice.stream().cutAfter).toBeLessThan(1000);
    }
    const { reset, repeat, sseStall, ...others } = dice.fired();
    // Some four standard deviations about the mean.
    expect(Math.abs(reset - 2500)).toBeLessThan(180);
    expect(Math.abs(repeat - 5000)).toBeLessThan(200);
    expect(Math.abs(sseStall - 1000)).toBeLessThan(120);
    expect(new Set(Object.values(others))).toEqual(new Set([0]));
  });

  test("may share all there is among a request's kinds, and again among a stream's", () => {
    const all = { dropRequest: 0.1, dropReply: 0.2, repeat: 0.3, reset: 0.4, sseCut: 0.7, sseStall: 0.3 };
    expect(() => suite.server.setFaults(all)).not.toThrow();
  });
});

test("a locker lets one in at a time whatever befalls its requests, and never calls an outage busy", async () => {
  const { server } = suite;
  const { url, token } = server;
  const each = 0.03;
  server.setFaults({
    ...{ dropRequest: each, dropReply: each, delayReply: each, repeat: each, cutBody: each, reset: each },
    ...{ status429: each, status500: each, status503: each, sseCut: 0.1, sseStall: 0.1, sseRefuse: 0.1 },
    // Meets each kind among its first 40 requests.
    seed: 36,
    delay: 400,
  });
  const before = server.fired();
  let inside = 0;
  let done = 0;
  const work = async () => {
    expect(++inside).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inside--;
    done++;
  };
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      const locker = createLocker({ url, token, requestTimeout: 200, ttl: "2s", wait: "30s" });
      for (let i = 0; i < 5; i++) {
        await locker.withLock("k", work).catch((error) => {
          // In half a minute everybody has a turn: whoever is told "busy" was told of an outage.
          if (!(error instanceof LockError) || error instanceof LockBusyError) throw error;
        });
      }
    }),
  );
  expect(done).toBeGreaterThan(0);
  const after = Object.entries(server.fired());
  const unmet = after.filter(
    ([kind, count]) => !kind.startsWith("sse") && count === before[kind as FaultKind],
  );
  expect(unmet).toEqual([]);
});
