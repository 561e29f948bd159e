import { connect } from "node:net";
import fc from "fast-check";
import { Redis as IORedis } from "ioredis";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { unsupportedNames } from "../../src/dev/unsupported-commands.ts";
import { engines } from "./engines.ts";
import {
  type Conversation,
  oddConversation,
  properConversation,
  render,
  rightCredentials,
  scriptConversation,
  wrongCredentials,
} from "./fuzz-requests.ts";
import { until } from "./suite.ts";

// With the seed that a run tells, the same requests come again.
const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** A key that is nobody's. */
const SENTINEL = "sentinel";

interface Answer {
  status: number;
  type: string;
  body: string;
}

async function ask({ url, token }: DevServer, ...command: string[]): Promise<{ result?: unknown }> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(command) });
  return response.json();
}

/** All that the server answers, until it closes the connection or begins an event stream. */
function converse(
  server: DevServer,
  { requests, ending }: Conversation,
  token = server.token,
): Promise<Answer[]> {
  const { hostname, port } = new URL(server.url);
  const chunks: Buffer[] = [];
  const socket = connect({ host: hostname, port: Number(port) });
  const end = async () => {
    if (ending === "destroy") return socket.destroy();
    if (ending === "reset") return socket.resetAndDestroy();
    if (ending === "server") return;
    // Node drops what it has not answered when a client has no more to send: so let it come to that first.
    await ask(server, "GET", SENTINEL);
    return socket.end();
  };
  return new Promise((resolve) => {
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      if (/^content-type: text\/event-stream/im.test(chunk.toString("latin1"))) socket.destroy();
    });
    // A server may close what it cannot understand before all of it has come.
    socket.on("error", () => {});
    socket.on("close", () => resolve(answersIn(Buffer.concat(chunks).toString("latin1"))));
    socket.write(Buffer.concat(requests.map((request) => render(request, token))), () => void end());
  });
}

function answersIn(text: string): Answer[] {
  const answers: Answer[] = [];
  for (let rest = text; rest !== ""; ) {
    const head = /^HTTP\/1\.1 (\d+) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(rest);
    if (!head) throw new Error(`no HTTP: ${rest.slice(0, 200)}`);
    const [all, status, headers = ""] = head;
    rest = rest.slice(all.length);
    if (Number(status) < 200) continue;
    const type = /^content-type: (.*)/im.exec(headers)?.[1]?.trim() ?? "";
    // To HEAD comes none of the body that the length speaks of.
    const length = rest.startsWith("HTTP/") ? 0 : Number(/^content-length: (\d+)/im.exec(headers)?.[1] ?? 0);
    // One character, one byte, up to here: an answer in RESP2 holds any bytes.
    const body = Buffer.from(rest.slice(0, length), "latin1").toString();
    answers.push({ status: Number(status), type, body });
    rest = type === "text/event-stream" ? "" : rest.slice(length);
  }
  return answers;
}

/** As Upstash answers: a result, an error, or an array of them. */
function expectUpstashShape({ status, type, body }: Answer): void {
  expect([200, 400, 401, 403, 405, 408, 413, 431]).toContain(status);
  if (type === "text/event-stream" || body === "") return;
  if (type === "application/octet-stream") {
    expect(body).toMatch(/^[-+:$*][^\r\n]*\r\n/);
    return;
  }
  expect(type).toBe("application/json");
  const answer: unknown = JSON.parse(body);
  for (const item of Array.isArray(answer) ? answer : [answer]) {
    const [name, ...others] = Object.keys(item);
    // What is the dev server's own: /meter and /faults.
    if (name === "requests" || name === "set") continue;
    expect([others, name]).toEqual([[], "error" in item ? "error" : "result"]);
    if (name === "error") expect(item.error).toMatch(/^[A-Z]+ /);
  }
  if (status !== 200) expect(answer).toEqual({ error: expect.any(String) });
  else expect(answer).not.toHaveProperty("error");
}

const [embedded, real] = engines as [(typeof engines)[number], (typeof engines)[number]];
// What the gate does is mostly its own: behind it the other engine gets a sample.
describe.each([
  { ...embedded, count: 2_500 },
  { ...real, count: 500 },
])("at the dev server's gate, on $name", ({ available, open, count }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    let backend: Awaited<ReturnType<typeof open>>;
    let server: DevServer;
    const errors = vi.spyOn(console, "error");
    beforeEach(async () => {
      errors.mockClear();
      backend = await open();
      server = await startDevServer({ redis: backend.redis });
    });
    afterEach(async () => {
      await server.close();
      await backend.close();
    });

    /** Sends so many requests; where the check fails, fast-check looks for the least that does. */
    async function fuzz(
      conversations: fc.Arbitrary<Conversation>,
      check: (answers: Answer[], conversation: Conversation) => void,
      token = server.token,
    ): Promise<void> {
      const statuses: Record<number, number> = {};
      let sent = 0;
      const send = async (conversation: Conversation) => {
        sent += conversation.requests.length;
        const answers = await converse(server, conversation, token);
        for (const answer of answers) {
          statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
          expectUpstashShape(answer);
        }
        check(answers, conversation);
      };
      for (let round = 0; sent < count; round++) {
        await fc.assert(fc.asyncProperty(conversations, send), { seed: seed + round, numRuns: 100 });
      }
      console.log(`FUZZ_SEED=${seed}: ${sent} requests, answered with ${JSON.stringify(statuses)}`);
      // Nothing went wrong that only a log tells.
      expect(errors).not.toHaveBeenCalled();
      expect((await ask(server, "PING")).result).toBe("PONG");
    }

    function expectOneEach(answers: Answer[], { requests }: Conversation): void {
      const streams = answers.at(-1)?.type === "text/event-stream";
      if (!streams) expect(answers.length).toBe(requests.length);
    }

    describe("without the token", () => {
      let redis: IORedis;
      let monitor: IORedis;
      const seen: string[] = [];
      beforeEach(async () => {
        redis = new IORedis(server.redisUrl);
        await redis.set("known", "value");
        seen.length = 0;
        monitor = await redis.monitor();
        monitor.on("monitor", (_time, command: string[]) => seen.push(command.join(" ")));
      });
      afterEach(() => {
        monitor.disconnect();
        redis.disconnect();
      });

      async function expectUntouched(): Promise<void> {
        expect(await redis.get("known")).toBe("value");
        expect(await redis.dbsize()).toBe(1);
        await until(() => seen.includes("dbsize"));
        const own = [`GET ${SENTINEL}`, "PING", "get known", "dbsize"];
        expect(seen.filter((command) => !own.includes(command))).toEqual([]);
        const { byCommand } = server.meter();
        expect(Object.keys(byCommand).filter((name) => name !== "get")).toEqual(["ping"]);
      }

      test("every proper request is refused, and no command reaches the engine", async () => {
        await fuzz(properConversation(wrongCredentials), (answers, conversation) => {
          for (const { status } of answers) expect(status).toBe(401);
          expectOneEach(answers, conversation);
        });
        expect(server.meter().requests).toBe(1);
        await expectUntouched();
      });

      test("no odd request gets in either", async () => {
        await fuzz(oddConversation(wrongCredentials), (answers) => {
          for (const { status } of answers) expect(status).toBeGreaterThanOrEqual(400);
        });
        await expectUntouched();
      });
    });

    describe("with the read-only token", () => {
      test("nothing is written, whatever is asked", async () => {
        const redis = new IORedis(server.redisUrl);
        await redis.set("known", "value");
        await fuzz(
          properConversation(rightCredentials),
          (answers, conversation) => {
            for (const { status } of answers) expect([200, 400, 403, 405]).toContain(status);
            expectOneEach(answers, conversation);
          },
          server.readOnlyToken,
        );
        expect([await redis.get("known"), await redis.dbsize()]).toEqual(["value", 1]);
        redis.disconnect();
      });
    });

    describe("with the token", () => {
      test("every proper request gets its one answer, as Upstash would give it", async () => {
        await fuzz(properConversation(rightCredentials), (answers, conversation) => {
          for (const { status } of answers) expect([200, 400, 405]).toContain(status);
          expectOneEach(answers, conversation);
        });
      });

      test("no script runs what requests may not, however it asks", async () => {
        const redis = new IORedis(server.redisUrl);
        const monitor = await redis.monitor();
        const called: string[] = [];
        monitor.on("monitor", (_time, [name = ""]: string[], source: string) => {
          if (source === "lua") called.push(name.toUpperCase());
        });
        await ask(server, "EVAL", "return redis.call('GET', KEYS[1])", "1", "k");
        await fuzz(scriptConversation(rightCredentials), (answers) => {
          for (const { status } of answers) expect([200, 400]).toContain(status);
        });
        await redis.eval("return redis.call('STRLEN', KEYS[1])", 1, "k");
        await until(() => called.includes("STRLEN"));
        expect(called.filter((name) => unsupportedNames.has(name))).toEqual([]);
        // What is allowed was run.
        expect(called).toContain("GET");
        monitor.disconnect();
        redis.disconnect();
      });

      test("odd requests are answered alike where at all, and disturb nobody", async () => {
        await fuzz(oddConversation(rightCredentials), () => {});
      });
    });
  });
});
