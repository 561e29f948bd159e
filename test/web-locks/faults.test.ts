import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { createLocker, LockUnavailableError } from "../../src/index.ts";
import { lockManager, type WebLockManager } from "../../src/web-locks/index.ts";
import { type Backend, clients, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { type Fault, type FaultyProxy, startProxy } from "../helpers/proxy.ts";
import { vanished } from "../helpers/waiter.ts";

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

const isSwap = (command: unknown[]) => command[0] === "EVAL" && command.at(-1) === "swap";

describe.each(clients)("a steal with $client", ({ connect }) => {
  let thief: WebLockManager;
  let holder: WebLockManager;
  beforeEach(() => {
    const at = { url: proxy.url, token: backend.server.token };
    thief = lockManager(createLocker({ ...connect(at), requestTimeout: 500 }));
    holder = lockManager(lockerAt(backend.server, { ttl: "1h" }));
  });

  /** Resolves once another holds the lock. Its request settles when it is told to end. */
  async function holdElsewhere(key: string) {
    const begins = Promise.withResolvers<void>();
    const ends = Promise.withResolvers<void>();
    const done = holder.request(key, () => {
      begins.resolve();
      return ends.promise;
    });
    await begins.promise;
    return { done, end: ends.resolve };
  }

  test.each<[string, Fault[]]>([
    ["is lost", [{ lose: "reply" }]],
    ["is one of a request that was executed twice", [{ repeat: true }]],
    ["is a gateway's", [{ answer: { status: 502, type: "text/html", body: "Bad gateway" } }]],
  ])("gets the lock though the reply to it %s, and leaves nothing behind", async (_, faults) => {
    const key = freshKey();
    const { done, end } = await holdElsewhere(key);
    proxy.fail(isSwap, ...faults);
    expect(await thief.request(key, { steal: true }, () => "mine")).toBe("mine");
    end();
    await expect(done).rejects.toMatchObject({ name: "AbortError" });
    await vanished(backend.raw, key);
  });

  test("that is refused by the network leaves the lock to its holder", async () => {
    const key = freshKey();
    const { done, end } = await holdElsewhere(key);
    proxy.fail(isSwap, ...Array<Fault>(20).fill({ cut: true }));
    const work = vi.fn();
    const failing = thief.request(key, { steal: true }, work);
    await expect(failing).rejects.toBeInstanceOf(LockUnavailableError);
    expect(work).not.toHaveBeenCalled();
    end();
    await done;
  });

  test("that was given up takes nothing when it is executed at last", async () => {
    const key = freshKey();
    const { done, end } = await holdElsewhere(key);
    const late = Promise.withResolvers<void>();
    proxy.fail(isSwap, { holdUntil: late.promise }, ...Array<Fault>(20).fill({ hang: true }));
    await expect(thief.request(key, { steal: true }, () => {})).rejects.toBeInstanceOf(LockUnavailableError);
    late.resolve();
    await proxy.settled();
    end();
    await done;
  });

  test("of which every reply is lost lets the lock go", async () => {
    const key = freshKey();
    const { done, end } = await holdElsewhere(key);
    proxy.fail(isSwap, ...Array<Fault>(20).fill({ lose: "reply" }));
    await expect(thief.request(key, { steal: true }, () => {})).rejects.toBeInstanceOf(LockUnavailableError);
    expect(await backend.raw.get(`lock:{${key}}`)).toBeNull();
    end();
    await expect(done).rejects.toMatchObject({ name: "AbortError" });
  });
});
