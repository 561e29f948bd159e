import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";

/** A connection as most have it: ioredis' defaults, and a limit for one command as the HTTP clients have it. */
export function connectTcp(url: string, limit: number): Redis {
  const redis = new Redis(url, { commandTimeout: limit });
  // It connects again by itself; without a listener it would print each time.
  redis.on("error", () => {});
  return redis;
}

/** Stands for a value in logs, where it is a token. */
export function markOf(value: string): string {
  return createHash("sha256").update(value).digest("hex").slice(0, 12);
}

/** A package of this folder's own node_modules, or undefined where that was not installed. */
export function peerVersion(name: string): string | undefined {
  try {
    const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
    return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version.replace(/^v/, "");
  } catch {
    return undefined;
  }
}
