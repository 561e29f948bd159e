import { execFile, spawn, spawnSync } from "node:child_process";
import { chownSync, globSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "./redis-server.ts";

/** Debian keeps the server's programs out of the PATH. */
const folders = ["", ...globSync("/usr/lib/postgresql/*/bin/").toReversed()];
const bin = folders.find((folder) => spawnSync(`${folder}initdb`, ["--version"]).status === 0);

/** Whether Postgres' server is installed: suites that need it skip themselves by name without it. */
export const hasPostgres: boolean = bin !== undefined;

/** Postgres refuses to be run by root. */
function ownUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const idOf = (which: string) => Number(spawnSync("id", [which, "postgres"]).stdout);
  return { uid: idOf("-u"), gid: idOf("-g") };
}

/** Starts a Postgres of one's own on loopback, and resolves once it accepts connections. */
export async function startPostgres(): Promise<{ url: string; close(): Promise<void> }> {
  const user = ownUser();
  const folder = mkdtempSync(join(tmpdir(), "serverless-lock-postgres-"));
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid as number);
  const data = join(folder, "data");
  const made = ["-D", data, "-U", "tester", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"];
  await promisify(execFile)(`${bin}initdb`, made, { ...user, cwd: folder });
  const port = await freePort();
  const run = ["-D", data, "-h", "127.0.0.1", "-p", `${port}`, "-k", folder, "-F"];
  const child = spawn(`${bin}postgres`, run, { ...user, cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  const killWithParent = () => child.kill("SIGKILL");
  process.once("exit", killWithParent);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const close = async () => {
    process.off("exit", killWithParent);
    child.kill("SIGINT");
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  let log = "";
  const ready = new Promise<boolean>((resolve) => {
    child.stderr.on("data", (chunk) => {
      log += chunk;
      if (log.includes("ready to accept connections")) resolve(true);
    });
  });
  if (!(await Promise.race([ready, exited.then(() => false)])))
    throw new Error(`postgres did not start:\n${log}`);
  return { url: `postgres://tester@127.0.0.1:${port}/postgres`, close };
}
