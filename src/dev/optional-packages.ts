/** What the dev server is built on: optional peer dependencies. Only who runs a dev server installs them. */
export interface OptionalPackages {
  Redis: typeof import("ioredis").Redis;
  /** The embedded engine's parts. Absent when a Redis URL was given: then it is not needed. */
  embeddedEngine?: EmbeddedEngine;
}

export type EmbeddedEngine = typeof import("js-redis-server/core");

/**
 * Imports the packages.
 *
 * @param load imports a package by its name; a test's own.
 * @throws an Error with the npm command that installs what is missing, or naming the Node version that the embedded
 * engine needs.
 */
export async function loadOptionalPackages(
  embedded: boolean,
  load: Load = (name) => import(name),
): Promise<OptionalPackages> {
  if (embedded && Number.parseInt(process.versions.node, 10) < 22) {
    throw new Error(
      `The embedded Redis engine needs Node 22 or later, and this is Node ${process.versions.node}: ` +
        "use a later Node, or give the URL of a Redis (the option redis, --redis on the command line).",
    );
  }
  const names = ["ioredis", ...(embedded ? ["js-redis-server/core"] : [])];
  const modules = await Promise.all(names.map((name) => orMissing(name, load)));
  const missing = names.filter((_, i) => modules[i] === undefined);
  if (missing.length > 0) {
    const packages = missing.map((name) => name.replace("/core", "")).join(" ");
    throw new Error(
      `The dev server needs packages that are not installed. Run: npm install --save-dev ${packages}`,
    );
  }
  const [ioredis, embeddedEngine] = modules as object[];
  return { ...ioredis, ...(embedded && { embeddedEngine }) } as OptionalPackages;
}

type Load = (name: string) => Promise<object>;

/** Undefined when the package is not there. One that is there and fails says why itself. */
async function orMissing(name: string, load: Load): Promise<object | undefined> {
  try {
    return await load(name);
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}
