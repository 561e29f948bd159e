import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createLocker, type Locker } from "../../src/index.ts";
import { forget, singleFlight } from "../../src/single-flight/index.ts";
import { type Backend, clients, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import {
  type Fault,
  type FaultyProxy,
  isDelivery,
  isJoin,
  type StreamFault,
  startProxy,
} from "../helpers/proxy.ts";
import { queueOf, until } from "../helpers/waiter.ts";

let backend: Backend;
let proxy: FaultyProxy;
beforeAll(async () => {
  backend = await (engines[0] as (typeof engines)[0]).start();
});
afterAll(() => backend?.close());
beforeEach(async () => {
  proxy = await startProxy(backend.server.url);
});
afterEach(() => proxy.close());

describe.each(clients)("single flights with $client", ({ connect }) => {
  let locker: Locker;
  let key: string;
  beforeEach(() => {
    locker = createLocker({
      ...connect({ url: proxy.url, token: backend.server.token }),
      requestTimeout: 500,
    });
    key = freshKey();
  });
  const standing = (count: number) => until(async () => (await queueOf(backend.raw, key)).length === count);
  const keysLeft = () => backend.raw.keys(`lock:{${key}}*`);

  test.each<[string, Fault[]]>([
    ["is lost", [{ lose: "reply" }]],
    ["is lost three times", Array(3).fill({ lose: "reply" })],
    ["never comes", [{ swallow: "reply" }]],
    ["is one of a request that was executed twice", [{ repeat: true }]],
    ["is a gateway's", [{ answer: { status: 502, type: "text/html", body: "Bad gateway" } }]],
  ])("the winner is told of success though the reply to its delivery %s", async (_, faults) => {
    for (const keepFor of ["1m", 0] as const) {
      proxy.fail(isDelivery, ...faults);
      const work = async () => {
        // Somebody waits, by a connection of their own.
        const other = singleFlight(lockerAt(backend.server), key, { keepFor }, async () => "of another");
        await standing(1);
        return { other };
      };
      let other: Promise<string> | undefined;
      const result = await singleFlight(locker, key, { keepFor }, async () => {
        ({ other } = await work());
        return "of the winner";
      });
      expect([result, await other]).toEqual(["of the winner", "of the winner"]);
      await proxy.settled();
      await forget(locker, key);
      expect(await keysLeft()).toEqual([]);
    }
  });

  test.each<[string, Fault]>([
    ["is lost", { lose: "reply" }],
    ["never comes", { swallow: "reply" }],
    ["is one of a request that was executed twice", { repeat: true }],
  ])("a caller gets the kept result though the first reply %s", async (_, fault) => {
    await singleFlight(locker, key, { keepFor: "1m" }, async () => "kept");
    proxy.fail(isJoin, fault);
    expect(await singleFlight(locker, key, { keepFor: "1m" }, async () => "new")).toBe("kept");
    await forget(locker, key);
  });

  test.each<[string, Fault]>([
    ["is lost", { lose: "reply" }],
    ["never comes", { swallow: "reply" }],
    ["is one of a request that was executed twice", { repeat: true }],
  ])("the work runs once though the reply that brings the lock %s", async (_, fault) => {
    let runs = 0;
    proxy.fail(isJoin, fault);
    expect(await singleFlight(locker, key, { keepFor: 0 }, async () => ++runs)).toBe(1);
    await proxy.settled();
    expect(await keysLeft()).toEqual([]);
  });

  test.each<[string, StreamFault | undefined]>([
    ["silent", { silent: true }],
    ["refused", { refuse: 404 }],
    ["never answered", { hang: true }],
    ["broken", { end: "broken" }],
    ["told twice", { duplicate: true }],
  ])("who waits finds the result of keepFor 0 though its stream is %s; a newcomer runs", async (_, fault) => {
    proxy.failStreams(fault);
    let other: Promise<string> | undefined;
    await singleFlight(lockerAt(backend.server), key, { keepFor: 0 }, async () => {
      other = singleFlight(locker, key, { keepFor: 0 }, async () => "of another");
      await standing(1);
      return "of the winner";
    });
    expect(await singleFlight(lockerAt(backend.server), key, { keepFor: 0 }, async () => "new")).toBe("new");
    expect(["of the winner", "new"]).toContain(await other);
  });

  test("who opens its stream only when the result is there gets it, wherever it stands in the queue", async () => {
    const delivered = Promise.withResolvers<void>();
    proxy.failStreams({ openAfter: delivered.promise });
    let others: Promise<string>[] = [];
    await singleFlight(lockerAt(backend.server), key, { keepFor: 0 }, async () => {
      others = Array.from({ length: 3 }, () =>
        singleFlight(locker, key, { keepFor: 0 }, async () => "of another"),
      );
      await standing(3);
      return "of the winner";
    });
    delivered.resolve();
    expect(await Promise.all(others)).toEqual(Array(3).fill("of the winner"));
  });

  test("the winner is told of success though its result is over when its delivery is repeated", async () => {
    proxy.fail(isDelivery, { lose: "reply" });
    expect(await singleFlight(locker, key, { keepFor: 1 }, async () => "done")).toBe("done");
  });

  test("a winner that cannot deliver hands over what it has, and says so", async () => {
    const errors: Error[] = [];
    const hang = Array<Fault>(40).fill({ answer: { status: 502, type: "text/html", body: "Bad gateway" } });
    const flight = singleFlight(
      locker,
      key,
      { keepFor: "1m", ttl: 600, onError: (error) => errors.push(error) },
      async () => {
        proxy.fail(isDelivery, ...hang);
        return "done";
      },
    );
    expect(await flight).toBe("done");
    expect(errors).toMatchObject([{ name: "LockUnavailableError" }]);
    await until(async () => (await keysLeft()).length === 0);
  });
});

describe("what single flights cost", () => {
  test("two requests of four commands each alone; a kept result one request of two", async () => {
    const locker = lockerAt(backend.server);
    const key = freshKey();
    const spent = async (work: () => Promise<unknown>) => {
      const before = backend.server.meter();
      await work();
      const after = backend.server.meter();
      return [after.requests - before.requests, after.commands - before.commands];
    };
    const fly = () => singleFlight(locker, key, { keepFor: "1m" }, async () => "done");
    // A server is asked once what it has.
    await singleFlight(locker, freshKey(), { keepFor: 0 }, async () => "done");
    expect(await spent(fly)).toEqual([2, 8]);
    expect(await spent(fly)).toEqual([1, 2]);
    expect(await spent(() => forget(locker, key))).toEqual([1, 1]);
  });

  test("one command more for who waits for a result that is too long for a message", async () => {
    const locker = lockerAt(backend.server);
    const key = freshKey();
    const count = (name: string) => backend.server.meter().byCommand[name] ?? 0;
    const [gets, scripts] = [count("get"), count("eval")];
    let other: Promise<string> | undefined;
    const result = await singleFlight(locker, key, { keepFor: 0 }, async () => {
      other = singleFlight(locker, key, { keepFor: 0 }, async () => "of another");
      // The winner's, the waiter's, and the waiter's once its stream is open.
      await until(() => count("eval") >= scripts + 3);
      return "x".repeat(20_000);
    });
    expect(await other).toBe(result);
    expect(count("get")).toBe(gets + 1);
  });
});
