import { describe, expect, test } from "vitest";
import { startDevServer } from "../../src/dev/index.ts";
import { engines } from "./engines.ts";
import { frames } from "./frames.ts";
import { until, useDevServer } from "./suite.ts";

describe.each(engines)("event streams, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    const suite = useDevServer(open);
    const { run } = suite;
    const listen = async (path: string, method = "GET") => {
      const { url, token } = suite.server;
      const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream" };
      const response = await fetch(url + path, { method, headers });
      return { response, ...frames(response) };
    };
    const publish = async (channel: string, message: string) =>
      ((await run(["PUBLISH", channel, message])) as { result: number }).result;

    test.each(["GET", "POST"])(
      "confirm the subscription and carry payloads as they are (%s)",
      async (method) => {
        const stream = await listen("/subscribe/ch%2F1", method);
        expect(stream.response.status).toBe(200);
        expect(stream.response.headers.get("content-type")).toBe("text/event-stream");
        expect(await stream.next()).toBe("data: subscribe,ch/1,1");
        expect(await publish("ch/1", 'a, "b", é 🔒')).toBe(1);
        expect(await stream.next()).toBe('data: message,ch/1,a, "b", é 🔒');
        await publish("ch/1", "");
        expect(await stream.next()).toBe("data: message,ch/1,");
        await stream.stop();
      },
    );

    test("carry the channel of a pattern's message", async () => {
      const stream = await listen("/psubscribe/room:*");
      expect(await stream.next()).toBe("data: psubscribe,room:*,1");
      await publish("room:7", "hello");
      expect(await stream.next()).toBe("data: pmessage,room:*,room:7,hello");
      await stream.stop();
    });

    test("take several channels", async () => {
      const stream = await listen("/subscribe/a/b");
      expect([await stream.next(), await stream.next()]).toEqual([
        "data: subscribe,a,1",
        "data: subscribe,b,2",
      ]);
      await publish("b", "x");
      await publish("a", "y");
      expect([await stream.next(), await stream.next()]).toEqual(["data: message,b,x", "data: message,a,y"]);
      await stream.stop();
      await until(async () => (await publish("a", "z")) + (await publish("b", "z")) === 0);
    });

    test("write a line break in a payload as the format wants it", async () => {
      const stream = await listen("/subscribe/a");
      await stream.next();
      await publish("a", "one\ntwo");
      expect(await stream.next()).toBe("data: message,a,one\ndata: two");
      await stream.stop();
    });

    test("are counted each by PUBLISH, in scripts too, and by PUBSUB, and end each for itself", async () => {
      const paths = ["/subscribe/a", "/subscribe/a", "/subscribe/a/b", "/psubscribe/a*"];
      const streams = await Promise.all(paths.map((path) => listen(path)));
      for (const stream of streams) await stream.next();
      const [first, second, both, pattern] = streams as [
        ...[(typeof streams)[0], (typeof streams)[0], (typeof streams)[0], (typeof streams)[0]],
      ];
      await both.next();
      expect(await publish("a", "1")).toBe(4);
      expect(await run(["EVAL", "return redis.call('PUBLISH', 'a', '1')", "0"])).toEqual({ result: 4 });
      expect(await run(["PUBSUB", "NUMSUB", "a", "b", "c"])).toEqual({ result: ["a", 3, "b", 1, "c", 0] });
      await first.stop();
      await until(async () => (await publish("a", "2")) === 3);
      expect([await second.next(), await second.next()]).toEqual(Array(2).fill("data: message,a,1"));
      for (const stream of [second, both, pattern]) await stream.stop();
      await until(async () => (await publish("a", "3")) === 0);
      const third = await listen("/subscribe/a");
      expect(await third.next()).toBe("data: subscribe,a,1");
      await publish("a", "4");
      expect(await third.next()).toBe("data: message,a,4");
      await third.stop();
    });

    test("carry a message once to whoever names its channel twice", async () => {
      const stream = await listen("/subscribe/a/a");
      expect([await stream.next(), await stream.next()]).toEqual(Array(2).fill("data: subscribe,a,1"));
      expect(await publish("a", "1")).toBe(1);
      await publish("a", "2");
      expect([await stream.next(), await stream.next()]).toEqual(["data: message,a,1", "data: message,a,2"]);
      await stream.stop();
    });

    test("keep the order of many messages to many listeners", async () => {
      const streams = await Promise.all(
        Array.from({ length: 20 }, (_, i) => listen(`/subscribe/ch${i % 4}`)),
      );
      for (const stream of streams) await stream.next();
      for (let n = 0; n < 50; n++) {
        await run(
          [0, 1, 2, 3].map((i) => ["PUBLISH", `ch${i}`, `${n}`]),
          "/pipeline",
        );
      }
      for (const [i, stream] of streams.entries()) {
        for (let n = 0; n < 50; n++) expect(await stream.next()).toBe(`data: message,ch${i % 4},${n}`);
        await stream.stop();
      }
    });

    test("are billed as one command when they begin and one when they end", async () => {
      suite.server.resetMeter();
      const stream = await listen("/subscribe/a");
      await stream.next();
      expect(suite.server.meter()).toEqual({ requests: 1, commands: 1, byCommand: { subscribe: 1 } });
      await stream.stop();
      await until(() => suite.server.meter().commands === 2);
      expect(suite.server.meter()).toEqual({
        requests: 1,
        commands: 2,
        byCommand: { subscribe: 1, unsubscribe: 1 },
      });
    });

    test("need a channel", async () => {
      for (const path of ["/subscribe", "/subscribe/", "/psubscribe"]) {
        const { response, stop } = await listen(path);
        expect([path, response.status]).toEqual([path, 400]);
        await stop();
      }
    });

    test("are not opened by HEAD", async () => {
      const { url, token } = suite.server;
      expect((await fetch(`${url}/subscribe/a?_token=${token}`, { method: "HEAD" })).status).toBe(200);
      expect(await publish("a", "x")).toBe(0);
    });

    test("end when the server is closed", async () => {
      const server = await startDevServer({ redis: suite.server.redisUrl });
      const stream = frames(await fetch(`${server.url}/subscribe/a?_token=${server.token}`));
      await stream.next();
      await server.close();
      expect(await stream.next().catch(() => undefined)).toBe(undefined);
      await until(async () => (await publish("a", "x")) === 0);
    });
  });
});
