import { describe, expect, test } from "vitest";
import { startDevServer } from "../../src/dev/index.ts";
import { engines } from "./engines.ts";
import { frames } from "./frames.ts";
import { until, useDevServer } from "./suite.ts";

describe.each(engines)("/monitor, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    const suite = useDevServer(open);
    const { run } = suite;
    const watch = async (method = "POST", path = "/monitor") => {
      const { url, token } = suite.server;
      const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream" };
      const response = await fetch(url + path, { method, headers });
      return { response, ...frames(response) };
    };
    /** A line without its time, in whose place stands whether it is one. */
    const shown = (frame: string | undefined) => frame?.replace(/^data: \d{10}\.\d{6} /, "data: <time> ");

    test("shows what every client sends, as it was sent", async () => {
      const stream = await watch();
      expect(stream.response.headers.get("content-type")).toBe("text/event-stream");
      expect(await stream.next()).toBe('data: "OK"');
      await run(["SET", "k", 'a "b" \\ \n é']);
      await run(["set", "k", "v", "IFEQ", "x"]);
      await run(
        [
          ["GET", "k"],
          ["WATCH", "k"],
          ["COPY", "k", "k"],
        ],
        "/pipeline",
      );
      await run([["DEL", "k"]], "/multi-exec");
      for (const line of [
        '"SET" "k" "a \\"b\\" \\\\ \\n \\xc3\\xa9"',
        '"set" "k" "v" "IFEQ" "x"',
        '"GET" "k"',
        '"COPY" "k" "k"',
        '"DEL" "k"',
      ]) {
        expect(shown(await stream.next())).toBe(`data: <time> [0 0.0.0.0:0] ${line}`);
      }
      await stream.stop();
    });

    test("ends with the server, and is opened by GET too, but not by HEAD", async () => {
      const backend = await open();
      const server = await startDevServer({ redis: backend.redis });
      const stream = frames(await fetch(`${server.url}/monitor?_token=${server.token}`));
      expect(await stream.next()).toBe('data: "OK"');
      expect((await fetch(`${server.url}/monitor?_token=${server.token}`, { method: "HEAD" })).status).toBe(
        200,
      );
      await server.close();
      expect(await stream.next().catch(() => undefined)).toBe(undefined);
      await backend.close();
    });

    test("is billed once, and met by the faults of streams", async () => {
      suite.server.resetMeter();
      const stream = await watch();
      await stream.next();
      expect(suite.server.meter()).toEqual({ requests: 1, commands: 1, byCommand: { monitor: 1 } });
      await stream.stop();
      suite.server.setFaults({ sseRefuse: 1 });
      expect((await watch()).response.status).toBe(503);
      suite.server.setFaults({});
      await until(() => suite.server.fired().sseRefuse === 1);
    });

    test("shows nothing to whoever has no token", async () => {
      const { url } = suite.server;
      for (const path of ["/monitor", "/monitor/", "/monitor?_token=wrong"]) {
        expect((await fetch(url + path, { method: "POST" })).status).toBe(401);
      }
    });
  });
});
