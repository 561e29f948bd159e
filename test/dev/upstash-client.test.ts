import { Redis as NodeRedis, type RedisConfigNodejs } from "@upstash/redis";
import { Redis as CloudflareRedis } from "@upstash/redis/cloudflare";
import { describe, expect, test } from "vitest";
import { engines } from "./engines.ts";
import { until, useDevServer } from "./suite.ts";

const builds = [
  { build: "nodejs", Redis: NodeRedis },
  { build: "cloudflare", Redis: CloudflareRedis as unknown as typeof NodeRedis },
];

describe.each(engines)("the client @upstash/redis, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    const suite = useDevServer(open);

    describe.each(builds)("its $build build", ({ Redis }) => {
      const client = (options: Partial<RedisConfigNodejs> = {}) => {
        const { url, token } = suite.server;
        return new Redis({ url, token, automaticDeserialization: false, retry: { retries: 0 }, ...options });
      };

      test("gets what it set, in any language", async () => {
        const redis = client();
        expect(await redis.set("ключ", "värde 🔒", { px: 10_000, nx: true })).toBe("OK");
        expect(await redis.set("ключ", "other", { nx: true })).toBe(null);
        expect(await redis.get("ключ")).toBe("värde 🔒");
        expect(await redis.get("none")).toBe(null);
        expect(await redis.set("ключ", "new", { get: true, px: 10_000 })).toBe("värde 🔒");
      });

      test("works without base64 and with its own deserialization", async () => {
        const redis = client({ responseEncoding: false, automaticDeserialization: true });
        await redis.set("a", { b: [1, "é"] });
        expect(await redis.get("a")).toEqual({ b: [1, "é"] });
      });

      test("runs hashes, lists and scans", async () => {
        const redis = client({ automaticDeserialization: true });
        await redis.hset("h", { a: "x", b: 2 });
        expect(await redis.hgetall("h")).toEqual({ a: "x", b: 2 });
        await redis.rpush("l", "x", "y");
        expect(await redis.lrange("l", 0, -1)).toEqual(["x", "y"]);
        expect((await redis.scan(0))[1].sort()).toEqual(["h", "l"]);
      });

      test("runs pipelines and transactions", async () => {
        const redis = client();
        expect(await redis.pipeline().set("a", "1").incr("a").get("a").exec()).toEqual(["OK", 2, "2"]);
        expect(await redis.multi().set("b", "1").incr("b").exec()).toEqual(["OK", 2]);
        await expect(redis.pipeline().lpush("a", "x").exec()).rejects.toThrow("WRONGTYPE");
        expect(suite.server.meter().requests).toBe(3);
      });

      test("puts what is asked in one turn into one pipeline", async () => {
        const redis = client({ enableAutoPipelining: true });
        const answers = await Promise.all([redis.set("a", "1"), redis.incr("a"), redis.get("none")]);
        expect(answers).toEqual(["OK", 2, null]);
        expect(suite.server.meter().requests).toBeLessThan(3);
        expect(suite.server.meter().commands).toBe(3);
      });

      test("runs scripts by text and by SHA", async () => {
        const redis = client();
        const script = "return {KEYS[1], ARGV[1], 1}";
        expect(await redis.eval(script, ["k"], ["v"])).toEqual(["k", "v", 1]);
        expect(await redis.evalsha(await redis.scriptLoad(script), ["k"], ["v"])).toEqual(["k", "v", 1]);
        expect(await redis.createScript<unknown[]>(script).exec(["k"], ["w"])).toEqual(["k", "w", 1]);
        await expect(redis.evalsha("0".repeat(40), [], [])).rejects.toThrow("NOSCRIPT");
      });

      test("quotes the server's errors", async () => {
        await expect(client().eval("return redis.error_reply('MY words')", [], [])).rejects.toThrow(
          "MY words",
        );
        await expect(client({ token: "wrong" }).get("a")).rejects.toThrow(
          "WRONGPASS invalid or missing auth token",
        );
      });

      test("hears what is published on its channel, as it was said", async () => {
        const redis = client();
        const heard: unknown[] = [];
        const subscription = redis.subscribe("news");
        subscription.on("message", (message) => heard.push(message));
        await new Promise((resolve) => subscription.on("subscribe", resolve));
        expect(await redis.publish("news", "one, two, {three")).toBe(1);
        expect(await redis.publish("other", "x")).toBe(0);
        await redis.publish("news", '{"a":1}');
        await until(() => heard.length === 2);
        expect(heard).toEqual([
          { channel: "news", message: "one, two, {three" },
          { channel: "news", message: '{"a":1}' },
        ]);
        await subscription.unsubscribe();
        await until(async () => (await redis.publish("news", "still there?")) === 0);
      });

      test("hears what is published on channels of its pattern", async () => {
        const redis = client();
        const heard: unknown[] = [];
        const subscription = redis.psubscribe("room:*");
        subscription.on("pmessage", (message) => heard.push(message));
        await new Promise((resolve) => subscription.on("psubscribe", resolve));
        await redis.publish("room:1", JSON.stringify({ a: 1 }));
        await until(() => heard.length === 1);
        expect(heard).toEqual([{ pattern: "room:*", channel: "room:1", message: '{"a":1}' }]);
        await subscription.unsubscribe();
        await until(async () => (await redis.publish("room:1", "x")) === 0);
      });
    });
  });
});
