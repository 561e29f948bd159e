import { afterAll, beforeAll, beforeEach } from "vitest";
import { type DevServer, type DevServerOptions, startDevServer } from "../../src/dev/index.ts";
import type { engines } from "./engines.ts";

/** A dev server for the tests of one `describe`, emptied before each. */
export function useDevServer(open: (typeof engines)[number]["open"], options: DevServerOptions = {}) {
  let backend: Awaited<ReturnType<typeof open>>;
  let server: DevServer;
  const suite = {
    get server() {
      return server;
    },
    /** Sends one command (or a pipeline, to another path) and answers with the parsed body. */
    async run(command: unknown[], path = "/"): Promise<unknown> {
      const headers = { authorization: `Bearer ${server.token}` };
      const response = await fetch(server.url + path, {
        method: "POST",
        headers,
        body: JSON.stringify(command),
      });
      return response.json();
    },
  };
  beforeAll(async () => {
    backend = await open();
    server = await startDevServer({ ...options, redis: backend.redis });
  });
  afterAll(async () => {
    await server?.close();
    await backend?.close();
  });
  beforeEach(async () => {
    await suite.run(["FLUSHALL"]);
    server.resetMeter();
  });
  return suite;
}

/** Waits for what comes true by itself; the test's own time limit ends it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
