import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Folders that are there at the moment. One listener for all: each server's own would be a leak in Node's eyes. */
const folders = new Set<string>();

/**
 * A path for a Unix socket, in a folder of its own that only this user may enter. On Windows a pipe of a name that
 * nobody can guess.
 */
export function createSocketPath(): { path: string; remove(): void } {
  if (process.platform === "win32") return { path: `//./pipe/serverless-lock-${randomUUID()}`, remove() {} };
  // Made with mode 0700.
  const folder = mkdtempSync(join(tmpdir(), "serverless-lock-"));
  if (folders.size === 0) process.on("exit", removeAll);
  folders.add(folder);
  return {
    path: join(folder, "redis.sock"),
    remove() {
      rmSync(folder, { recursive: true, force: true });
      folders.delete(folder);
      if (folders.size === 0) process.off("exit", removeAll);
    },
  };
}

function removeAll(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
