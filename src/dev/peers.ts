/** What the dev server is built on. All four are optional peers: only who runs a dev server installs them. */
export interface Peers {
  Redis: typeof import("ioredis").Redis;
  Hono: typeof import("hono").Hono;
  createAdaptorServer: typeof import("@hono/node-server").createAdaptorServer;
  /** Absent when a Redis URL was given: then the embedded engine is not needed. */
  createRedisMock?: typeof import("js-redis-server").createRedisMock;
}

/**
 * Imports the peers.
 *
 * @throws an Error with the npm command that installs what is missing, or naming the Node version that the embedded
 * engine needs.
 */
export async function loadPeers(embedded: boolean): Promise<Peers> {
  if (embedded && Number.parseInt(process.versions.node, 10) < 22) {
    throw new Error(
      `The embedded Redis engine needs Node 22 or later, and this is Node ${process.versions.node}: ` +
        "use a later Node, or give the URL of a Redis (the option redis, --redis on the command line).",
    );
  }
  const missing: string[] = [];
  const ioredis = await found("ioredis", () => import("ioredis"), missing);
  const hono = await found("hono", () => import("hono"), missing);
  const nodeServer = await found("@hono/node-server", () => import("@hono/node-server"), missing);
  const engine = embedded
    ? await found("js-redis-server", () => import("js-redis-server"), missing)
    : undefined;
  if (!ioredis || !hono || !nodeServer || (embedded && !engine)) {
    throw new Error(
      `The dev server needs packages that are not installed. Run: npm install --save-dev ${missing.join(" ")}`,
    );
  }
  return {
    Redis: ioredis.Redis,
    Hono: hono.Hono,
    createAdaptorServer: nodeServer.createAdaptorServer,
    ...(engine ? { createRedisMock: engine.createRedisMock } : {}),
  };
}

async function found<T>(name: string, load: () => Promise<T>, missing: string[]): Promise<T | undefined> {
  try {
    return await load();
  } catch (error) {
    // Only its own absence means "not installed": a package that is there and fails says why itself.
    const code = (error as { code?: string }).code;
    if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") {
      missing.push(name);
      return undefined;
    }
    throw error;
  }
}
