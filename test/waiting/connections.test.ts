import { afterAll, beforeAll, test } from "vitest";
import { type Backend, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { wait } from "../helpers/waiter.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await (engines[0] as (typeof engines)[0]).start();
});
afterAll(() => backend?.close());

const dispatcher = Symbol.for("undici.globalDispatcher.1");
const globals = globalThis as unknown as Record<symbol, { constructor: new (options: object) => object }>;

test.each([1, 2, 6])(
  "a process with %i connections and as many waiters serves them all: a stream gives way to a request",
  async (connections) => {
    await fetch(backend.server.url).then((response) => response.text());
    const keys = Array.from({ length: connections }, freshKey);
    const holders = await Promise.all(
      keys.map((key) => lockerAt(backend.server).acquire(key, { ttl: "1m" })),
    );
    const before = globals[dispatcher] as NonNullable<(typeof globals)[symbol]>;
    globals[dispatcher] = new before.constructor({ connections }) as typeof before;
    const locker = lockerAt(backend.server, { requestTimeout: 600 });
    const waiters = keys.map((key) => wait(locker, key));
    await Promise.all(waiters.map(({ standing }) => standing));
    // Past every queue, as when a lease ends: nothing is published.
    await Promise.all(holders.map(({ key }) => backend.raw.del(`lock:{${key}}`)));
    const locks = await Promise.all(waiters.map(({ lock }) => lock));
    await Promise.all(locks.map((lock) => lock.release()));
    globals[dispatcher] = before;
  },
);
