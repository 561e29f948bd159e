import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream as NodeStream } from "node:stream/web";
import { Redis } from "ioredis";
import type { DevServer } from "../../src/dev/index.ts";
import { createLocker, type Lock } from "../../src/index.ts";

/** What one step came to. */
export interface Report {
  step: string;
  ok: boolean;
  seen: string;
}

/** Every step: those of scenario.js, and those seen from outside the runtime. */
export const steps: readonly string[] = [
  ...["take", "busy", "lose", "body read", "body cancelled", "unavailable", "hand over", "renew"],
  ...["served: busy", "served: free", "client gone", "left behind"],
];

/** What is asked of an entry. */
export interface Asked {
  /** Where it is served. */
  entry: string;
  /** In front of all keys, for this runtime alone; the entry's own lock. */
  key: string;
  /** A URL where nobody listens. */
  closed: string;
}

/**
 * Asks a served entry for the scenario's reports, plays the other process in it, and looks at the entry's own lock,
 * which is to be held until the response is at its end. Reports come as they are made.
 * @throws when the entry does not answer as it should
 */
export async function* check({ entry, key, closed }: Asked, server: DevServer): AsyncGenerator<Report> {
  const locker = createLocker({ url: server.url, token: server.token });
  const url = `${entry}?${new URLSearchParams({ key, closed })}`;
  const passed = new Map<string, Lock>();
  for (const each of [1, 2, 3]) {
    const lock = await locker.acquire(`${key}:passed:${each}`, { ttl: "60s" });
    passed.set(lock.key, lock);
  }
  let open = false;
  for await (const line of await ask(url)) {
    const said = JSON.parse(line) as Report | { standing: string };
    if ("standing" in said) await passed.get(said.standing)?.release();
    else yield said;
    // The scenario goes on until a lock is passed to it, so its body is open still.
    if (!open) yield report("served: busy", refused(url));
    open = true;
  }
  for (const lock of passed.values()) await lock.release();

  const free = async () => {
    const lock = await locker.acquire(key, { wait: "15s" });
    await lock.release();
    return "free after";
  };
  const clientGone = async () => {
    const client = new AbortController();
    const lines = await ask(`${url}&endless`, client.signal);
    await lines.next();
    if (await locker.tryAcquire(key)) throw new Error("free while the body was open");
    client.abort();
    return `busy until the client left, ${await free()}`;
  };
  yield report("served: free", free());
  yield report("client gone", clientGone());
  yield report("left behind", leftBehind(server.redisUrl, key));
}

/** The lines of the entry's answer. */
async function ask(url: string, signal?: AbortSignal) {
  // A server in between that compresses may keep lines back.
  const headers = { "accept-encoding": "identity" };
  const { ok, status, body } = await fetch(url, { headers, signal: signal ?? null });
  if (!ok || !body) throw new Error(`the entry answered ${status}`);
  const input = Readable.fromWeb(body as NodeStream);
  // The iteration tells of it.
  input.on("error", () => {});
  return createInterface({ input })[Symbol.asyncIterator]();
}

/** How the entry answers while its lock is held. */
async function refused(url: string): Promise<string> {
  const { status, headers } = await fetch(url);
  const after = headers.get("retry-after");
  if (status !== 423 || !after) throw new Error(`answered ${status}, Retry-After ${after}`);
  return `423 while the body was open, Retry-After ${after}`;
}

/** Resolves once no key is left but fencing counters. */
async function leftBehind(redisUrl: string, key: string): Promise<string> {
  const redis = new Redis(redisUrl);
  const last = Date.now() + 15_000;
  try {
    for (;;) {
      const left = (await redis.keys(`lock:{${key}*`)).filter((name) => !name.endsWith(":fence"));
      if (left.length === 0) return "nothing";
      // What stands behind the braces may hold a token.
      if (Date.now() > last) throw new Error(left.map((name) => name.replace(/\}.*/, "}…")).join(", "));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    redis.disconnect();
  }
}

async function report(step: string, doing: Promise<string>): Promise<Report> {
  return doing.then(
    (seen) => ({ step, ok: true, seen }),
    (error) => ({ step, ok: false, seen: `${error}` }),
  );
}
