import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { pause, unpause } from "../../src/admin/index.ts";
import { startDevServer } from "../../src/dev/index.ts";
import type { Locker } from "../../src/index.ts";
import { type Backend, engines, lockerAt } from "../helpers/backends.ts";
import { until, wait } from "../helpers/waiter.ts";

/** Numbers that depend on the time are shown as #. */
const steady = (text: string) => text.replace(/\d+(\.\d+)? (ms|s|min|h)\b/g, "# s").replace(/ {2,}/g, "  ");

/** A command in a terminal, as util-linux makes one. */
const inTerminal = (args: string[]) => {
  const line = [process.execPath, "src/cli.ts", ...args].map((word) => `'${word}'`).join(" ");
  return ["script", ["-qec", line, "/dev/null"]] as const;
};

describe.each(engines)("the command line on $engine", ({ missing, start }) => {
  describe.skipIf(missing)("", () => {
    let backend: Backend;
    let locker: Locker;
    let env: Record<string, string>;
    beforeAll(async () => {
      backend = await start();
      const { url, token } = backend.server;
      locker = lockerAt(backend.server, { ttl: "1m" });
      env = {
        ...{ PATH: process.env.PATH ?? "", UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token },
        TERM: "xterm",
      };
    });
    beforeEach(() => backend.raw.flushall());
    afterAll(() => backend?.close());

    function begin(command: string, args: readonly string[], variables = env) {
      const child = spawn(command, args, { env: variables });
      const output = { out: "", err: "" };
      child.stdout.on("data", (chunk) => {
        output.out += chunk;
      });
      child.stderr.on("data", (chunk) => {
        output.err += chunk;
      });
      const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
        child.on("close", (code) => resolve({ code, ...output })),
      );
      return { child, output, ended };
    }
    const run = (...args: string[]) => begin(process.execPath, ["src/cli.ts", ...args]).ended;

    async function crowd() {
      const lock = await locker.acquire("order:42", { owner: "charge/eu-1" });
      const waiter = wait(locker, "order:42", { owner: "charge/eu-2" });
      await waiter.standing;
      const permits = { key: "openai", limit: 5 };
      const some = [await locker.acquire(permits, { owner: "a" }), await locker.acquire(permits)];
      return {
        lock,
        waiter,
        async end() {
          for (const each of [lock, ...some]) await each.release();
          await (await waiter.lock).release();
        },
      };
    }

    test("list shows the locks in a table, and as JSON", async () => {
      expect(await run("list")).toEqual({ code: 0, out: "No locks.\n", err: "" });
      const all = await crowd();
      await pause(locker, "later");
      const { code, out, err } = await run("list");
      expect([code, err]).toEqual([0, ""]);
      expect(`\n${steady(out)}`).toBe(`
KEY  STATE  HELD BY  FOR  LEASE LEFT  WAITERS
later  free, paused  -  -  -  0
openai  held  a and 1 more  # s  # s  0
order:42  held  charge/eu-1  # s  # s  1
`);
      const json = JSON.parse((await run("list", "order:", "--json")).out);
      expect(json).toMatchObject([{ key: "order:42", holders: [{ owner: "charge/eu-1" }] }]);
      await all.end();
    });

    test("inspect shows who holds a lock and who waits, and exits with 1 for a free one", async () => {
      const all = await crowd();
      const { code, out } = await run("inspect", "order:42");
      expect(code).toBe(0);
      expect(`\n${steady(out)}`).toBe(`
order:42  held

HOLDER  MODE  FOR  LEASE LEFT
charge/eu-1  exclusive  # s  # s

PLACE  WAITER  MODE  FOR
0  charge/eu-2  exclusive  # s
`);
      expect(steady((await run("inspect", "openai")).out)).toContain("a  permit 1 of 5  # s  # s\n");
      await all.end();
      expect(await run("inspect", "order:42")).toEqual({ code: 1, out: "order:42  free\n", err: "" });
    });

    test("shows what others call their locks and themselves as text, and as JSON that a terminal can take", async () => {
      const key = "a\u001b[2J\u202eb\u2066\u009b31m";
      const owner = "\u001b]0;me\u0007\u2067";
      await backend.raw.set(`lock:{${key}}`, `s2:${"0".repeat(32)}:60000:1:${owner}`, "PX", 60_000, "NX");
      for (const args of [["list"], ["list", "--json"], ["inspect", key], ["inspect", key, "--json"]]) {
        const { code, out, err } = await run(...args);
        expect([code, err, out.length > 20], `${args}`).toEqual([0, "", true]);
        expect(out, `${args}`).not.toMatch(/[^\n -~\ufffd]/);
      }
      expect(JSON.parse((await run("list", "--json")).out)).toMatchObject([{ key, holders: [{ owner }] }]);
      const wrong = await run("list", `--\u001b[31m`);
      expect([wrong.code, wrong.out]).toEqual([2, ""]);
      expect(wrong.err).not.toContain("\u001b");
    });

    test("release asks, or wants --yes, and says what follows", async () => {
      const all = await crowd();
      const refused = await run("release", "order:42");
      expect(refused).toMatchObject({ code: 2, err: expect.stringContaining("--yes") });
      expect(await all.lock.extend()).toBe(true);
      const { code, out } = await run("release", "order:42", "--yes");
      expect([code, steady(out)]).toEqual([0, "Ended order:42: free within # s. Who waits comes in.\n"]);
      expect(await all.lock.extend()).toBe(false);
      await run("release", "order:42", "--yes", "--now");
      expect((await all.waiter.lock).held).toBe(true);
      await all.end();
      const none = await run("release", "order:42", "--yes");
      expect(none).toEqual({ code: 1, out: "order:42: nothing was ended.\n", err: "" });
    });

    test("release in a terminal shows the lock, and does nothing without a yes", async () => {
      const all = await crowd();
      for (const [answer, held] of [
        ["n", true],
        ["y", false],
      ] as const) {
        const { child, output, ended } = begin(...inTerminal(["release", "order:42"]));
        await until(() => output.out.includes("End it? [y/N]"));
        expect(output.out).toContain("No two work at once. 1 wait, the next comes in.");
        child.stdin.write(`${answer}\n`);
        expect((await ended).code).toBe(held ? 1 : 0);
        expect(await all.lock.extend()).toBe(held);
      }
      await backend.raw.flushall();
    });

    test("release in a terminal ends nobody who came while it asked", async () => {
      const shown = await locker.acquire("left");
      const { child, output, ended } = begin(...inTerminal(["release", "left"]));
      await until(() => output.out.includes("End it? [y/N]"));
      await shown.release();
      const next = await locker.acquire("left");
      child.stdin.write("y\n");
      expect((await ended).code).toBe(1);
      expect(output.out).toContain("left: its holders have gone by themselves, nothing was ended.");
      expect(await next.extend()).toBe(true);
      await next.release();
    });

    test("release tells that nobody comes in while it is paused", async () => {
      const all = await crowd();
      await pause(locker, "order:42");
      const { child, output, ended } = begin(...inTerminal(["release", "order:42"]));
      await until(() => output.out.includes("End it? [y/N]"));
      expect(output.out).toContain("No two work at once. It is paused: nobody comes in until unpause.");
      child.stdin.write("n\n");
      await ended;
      const { out } = await run("release", "order:42", "--yes");
      expect(steady(out)).toBe("Ended order:42: free within # s. It is paused: nobody comes in.\n");
      await unpause(locker, "order:42");
      await all.end();
    });

    test("limit, pause and unpause say what they did", async () => {
      const outputs = [];
      for (const args of [
        ["limit", "k", "3"],
        ["limit", "k", "none"],
        ["pause", "k"],
        ["unpause", "k"],
      ])
        outputs.push((await run(...args)).out);
      expect(`\n${outputs.join("")}`).toBe(`
k: limit 3.
k: each caller's own limit counts again.
k: paused; who holds it goes on.
k: not paused; who waits comes in.
`);
      expect(JSON.parse((await run("pause", "k", "--json")).out)).toMatchObject({ key: "k", paused: true });
    });

    test("watch prints a line for each change, until Ctrl-C", async () => {
      const { child, output, ended } = begin(process.execPath, [
        "src/cli.ts",
        "watch",
        "w",
        "--every",
        "100ms",
      ]);
      await until(() => output.out.includes("free"));
      const lock = await locker.acquire("w", { owner: "me" });
      await until(() => output.out.includes("held  by me"));
      await lock.release();
      await until(() => output.out.trim().split("\n").length === 3);
      child.kill("SIGINT");
      expect((await ended).code).toBe(0);
      expect(output.out).not.toContain("\u001b");
    });

    test("watch tells a change of holders without a name", async () => {
      const args = ["src/cli.ts", "watch", "w", "--every", "100ms"];
      const { child, output, ended } = begin(process.execPath, args);
      for (const [token, lines] of [
        ["1", 1],
        ["2", 2],
      ] as const) {
        const value = `s2:${token.repeat(32)}:60000:${Date.now()}:`;
        await locker.run((door) => door.ask("w", ["SET", "lock:{w}", value, "PX", 60_000]));
        await until(() => output.out.match(/held {2}by -/g)?.length === lines);
      }
      child.kill("SIGINT");
      await ended;
      await backend.raw.flushall();
    });

    test("watch in a terminal writes in place and in colour", async () => {
      const lock = await locker.acquire("w", { owner: "me" });
      const { child, output, ended } = begin(...inTerminal(["watch", "w", "--every", "100ms"]));
      await until(() => output.out.includes("\u001b[J"));
      await until(() => output.out.includes("\u001b[4A\u001b[J"));
      expect(output.out).toContain("\u001b[33mheld");
      child.stdin.write("\u0003");
      await ended;
      await lock.release();
    });

    test("a reader that stops to read ends it quietly", async () => {
      await pause(locker, "a");
      const line = `('${process.execPath}' src/cli.ts list; echo "code $?" >&2) | true`;
      expect((await begin("sh", ["-c", line]).ended).err).toBe("code 0\n");
    });

    test("takes URL and token from flags and from a file too", async () => {
      const { url, token } = backend.server;
      const bare = { PATH: env.PATH ?? "" };
      const flags = ["src/cli.ts", "list", "--url", url, "--token", token];
      expect((await begin(process.execPath, flags, bare).ended).out).toBe("No locks.\n");
      const folder = mkdtempSync(join(tmpdir(), "serverless-lock-cli-"));
      const file = join(folder, ".env");
      writeFileSync(file, `UPSTASH_REDIS_REST_URL="${url}"\nUPSTASH_REDIS_REST_TOKEN=${token}\n`);
      const fromFile = ["src/cli.ts", "list", "--env-file", file];
      expect((await begin(process.execPath, fromFile, bare).ended).out).toBe("No locks.\n");
      // An empty variable is as good as none.
      const empty = { ...bare, UPSTASH_REDIS_REST_URL: "", UPSTASH_REDIS_REST_TOKEN: "" };
      expect((await begin(process.execPath, fromFile, empty).ended).out).toBe("No locks.\n");
      rmSync(folder, { recursive: true });
    });

    test("says that another library's lock is left alone, also one without an end", async () => {
      const key = "lock:{theirs}";
      for (const life of [[], ["PX", 60_000]]) {
        await locker.run((door) => door.ask("theirs", ["SET", key, "their token", ...life]));
        expect(await run("release", "theirs", "--yes")).toMatchObject({
          ...{ code: 1, out: "theirs: another library holds it, and only --now ends that.\n" },
        });
      }
    });
  });
});

describe("the command line", () => {
  const run = (args: string[]) => execute(process.execPath, ["src/cli.ts", ...args]);
  const shell = (line: string) => execute("sh", ["-c", line]);
  const execute = (command: string, args: string[]) =>
    new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
      const child = spawn(command, args, { env: { PATH: process.env.PATH } });
      let [out, err] = ["", ""];
      child.stdout.on("data", (chunk) => {
        out += chunk;
      });
      child.stderr.on("data", (chunk) => {
        err += chunk;
      });
      child.on("close", (code) => resolve({ code, out, err }));
    });

  test.each([
    [["inspect"], "missing required argument 'key'"],
    [["inspect", "a", "b"], "too many arguments"],
    [["list", "--fly"], "unknown option '--fly'"],
    [["limit", "k", "0"], "pause"],
    [["limit", "k", "many"], "from 1 to 100000, or none"],
    [["limit", "k", "1000000"], "from 1 to 100000"],
    [["watch", "k", "--every", "1ms"], "--every"],
    [["inspect", ""], "key"],
    [["list"], "UPSTASH_REDIS_REST_URL"],
  ])("refuses %j with exit code 2", async (args, message) => {
    const at =
      args.length > 1 || args[0] === "inspect" ? ["--url", "http://127.0.0.1:1", "--token", "t"] : [];
    const { code, out, err } = await run([...args, ...at]);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(message);
  });

  test.each([[["dev", "--help"]], [["--help"]], [["list", "--help"]]])(
    "a reader that stops to read ends %j quietly",
    async (args) => {
      const { code, err } = await shell(
        `('${process.execPath}' src/cli.ts ${args.join(" ")}; echo "code $?" >&2) | true`,
      );
      expect([code, err]).toEqual([0, "code 0\n"]);
    },
  );

  test("output that cannot be written is told in a line", async () => {
    const { code, err } = await shell(`'${process.execPath}' src/cli.ts --help > /dev/full`);
    expect(code).toBe(1);
    expect(err).toMatch(/^serverless-lock: ENOSPC[^\n]*\n$/);
  });

  test("the page's URL is printed as JSON, too", async () => {
    const args = [
      "src/cli.ts",
      "page",
      "--port",
      "0",
      "--json",
      "--url",
      "http://127.0.0.1:9",
      "--token",
      "t",
    ];
    const child = spawn(process.execPath, args);
    const [chunk] = await once(child.stdout, "data");
    expect(JSON.parse(`${chunk}`)).toEqual({ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\//) });
    child.kill();
    await once(child, "close");
  });

  test("watch goes on through an outage, and says what it was", async () => {
    const first = await startDevServer();
    const { token } = first;
    const port = Number(new URL(first.url).port);
    const at = ["--url", first.url, "--token", token];
    const child = spawn(process.execPath, ["src/cli.ts", "watch", "w", "--every", "100ms", ...at]);
    let out = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    await until(() => out.includes("free"));
    await first.close();
    await until(() => out.includes("could not be asked"));
    const second = await startDevServer({ port, token });
    await until(() => out.split("free").length === 3);
    child.kill("SIGINT");
    expect(await once(child, "close")).toEqual([0, null]);
    await second.close();
  });

  test("watch ends at once, also while Redis does not answer", async () => {
    const asked = Promise.withResolvers<void>();
    const silent = createServer(() => asked.resolve()).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const child = spawn(process.execPath, ["src/cli.ts", "watch", "w", "--url", url, "--token", "t"]);
    let err = "";
    child.stderr.on("data", (chunk) => {
      err += chunk;
    });
    await asked.promise;
    child.kill("SIGINT");
    expect([...(await once(child, "close")), err]).toEqual([0, null, ""]);
    silent.close();
    silent.closeAllConnections();
  });

  test.each([["list"], ["inspect"], ["dev"], []])(
    "what steers a terminal is not repeated by %j",
    async (...args) => {
      const { code, err } = await run([...args, "--\u001b[31m"]);
      expect([code, /[^\n -~\ufffd]/.test(err)]).toEqual([2, false]);
    },
  );

  test("says how to give a key that begins with a dash", async () => {
    const { code, err } = await run(["inspect", "-dash"]);
    expect(code).toBe(2);
    expect(err).toContain('See serverless-lock inspect --help. A key that begins with "-" goes behind "--"');
  });

  test("says with exit code 3 that Redis could not be asked", async () => {
    const { code, err } = await run(["inspect", "k", "--url", "http://127.0.0.1:9", "--token", "t0k3n"]);
    expect(code).toBe(3);
    expect(err).toContain("Redis could not be asked about the lock");
    expect(err).not.toContain("t0k3n");
  });

  test.each(["list", "inspect", "watch", "release", "limit", "pause", "unpause", "page"])(
    "helps with %s",
    async (name) => {
      const { code, out } = await run([name, "--help"]);
      expect(code).toBe(0);
      expect(out).toContain(`Usage: serverless-lock ${name}`);
      expect(out).toContain("--env-file");
    },
  );
});
