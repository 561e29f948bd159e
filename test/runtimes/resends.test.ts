import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { command, type FaultyProxy, startProxy } from "../helpers/proxy.ts";
import { isInstalled, runtimes } from "./runtimes.ts";

let server: DevServer;
let proxy: FaultyProxy;
let folder: string;
beforeAll(async () => {
  server = await startDevServer();
  proxy = await startProxy(server.url);
  folder = await mkdtemp(join(tmpdir(), "resends-"));
});
afterAll(async () => {
  await proxy?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

const built = pathToFileURL(join(import.meta.dirname, "../../dist/index.js"));
const script = (url: string, token: string) => `
  import { createLocker } from ${JSON.stringify(built.href)};
  const events = [];
  const at = ${JSON.stringify({ url, token })};
  const locker = createLocker({ ...at, onEvent: ({ type }) => events.push(type) });
  // A connection that is kept alive.
  await locker.withLock("warm", () => {});
  const result = await locker.withLock("order", () => "done").catch((error) => error.code);
  console.log(JSON.stringify({ result, lost: events.includes("lost") }));
`;

const able = runtimes.filter(({ id }) => /^(node|deno|bun)/.test(id));

describe.each(able)("$name (needs npm ci --prefix test/runtimes/guest)", (runtime) => {
  test.skipIf(!isInstalled(runtime))(
    "calls no lock lost that was held to its end, whoever sends the release again",
    async () => {
      const file = join(folder, `${runtime.id}.mjs`);
      writeFileSync(file, script(proxy.url, server.token));
      // The release of the second lock is executed, and its reply lost with the connection.
      let releases = 0;
      proxy.fail((words) => command("DELEX")(words) && ++releases > 1, { lose: "reply" });
      const args = runtime.id === "deno" ? ["run", "-A", "--no-config", file] : [file];
      const { stdout } = await promisify(execFile)(runtime.needs, args);
      expect(JSON.parse(stdout)).toEqual({ result: "done", lost: false });
    },
  );
});
