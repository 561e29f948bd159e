import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Backend, engines, freshKey, lockerAt } from "../helpers/backends.ts";
import { runChild } from "../helpers/child.ts";

describe.each(engines)("processes on $engine", ({ missing, start }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await start();
    });
    afterAll(() => backend?.close());

    const run = (...args: string[]) =>
      runChild("holder.ts", args, {
        UPSTASH_REDIS_REST_URL: backend.server.url,
        UPSTASH_REDIS_REST_TOKEN: backend.server.token,
      });

    test("of 200 concurrent acquires over two processes one gets the lock", async () => {
      const key = freshKey();
      const children = [run("crowd", key, "100"), run("crowd", key, "100")];
      const won = await Promise.all(children.map((child) => child.line("won")));
      expect(won.map((line) => Number(line.split(" ")[1])).sort()).toEqual([0, 1]);
      for (const child of children) child.send("enough");
      await Promise.all(children.map((child) => child.ended));
    });

    test.each([false, true])(
      "a process stopped past its lease does no step more (renew: %s)",
      async (renew) => {
        const key = freshKey();
        const child = run("hold", key, JSON.stringify({ ttl: 400, renew }));
        await child.line("held");
        child.send("step");
        await child.line("worked");
        child.process.kill("SIGSTOP");
        // What it is to do next waits in its pipe: it wakes up to that and to its overdue timers at once.
        child.send("step");
        const next = await lockerAt(backend.server).acquire(key, { wait: "1m" });
        child.process.kill("SIGCONT");
        expect(await child.line("")).toBe("aborted LockLostError false");
        expect(await child.line("released")).toBe("released false");
        expect(next.held).toBe(true);
        expect(await next.release()).toBe(true);
        expect(await child.ended).toBe(0);
      },
    );

    test("a process exits by itself once it has released, long before the lease would end", async () => {
      const key = freshKey();
      const child = run("once", key, JSON.stringify({ ttl: "1h", renew: true, requestTimeout: "60s" }));
      await child.line("done");
      // Were a timer or a socket of ours left, it would live on until the test's own limit.
      expect(await child.ended).toBe(0);
      expect(await backend.raw.keys(`lock:{${key}}*`)).toEqual([]);
    });

    test("a killed holder costs one lease", async () => {
      const key = freshKey();
      const child = run("hold", key, JSON.stringify({ ttl: 500, renew: true }));
      await child.line("held");
      child.process.kill("SIGKILL");
      await child.ended;
      const next = await lockerAt(backend.server).acquire(key, { wait: "1m" });
      expect(next.held).toBe(true);
      await next.release();
    });
  });
});
