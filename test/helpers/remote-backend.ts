import type { Redis as RawRedis } from "ioredis";
import type { Backend } from "./backends.ts";

export interface RemoteServer {
  url: string;
  token: string;
}

/** The server that `npm run contract` was given. */
export const remoteServer: RemoteServer | undefined =
  process.env.CONTRACT_URL && process.env.CONTRACT_TOKEN
    ? { url: process.env.CONTRACT_URL, token: process.env.CONTRACT_TOKEN }
    : undefined;

/** Sends one command to the server's REST API. */
export async function ask({ url, token }: RemoteServer, ...command: string[]): Promise<unknown> {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(command) });
  const answer = (await response.json()) as { result?: unknown; error?: string };
  if (answer.error !== undefined) throw new Error(answer.error);
  return answer.result;
}

/** A server somewhere. Past the lock, it is looked at by the same API: there is no other way in. */
export function remoteBackend(server: RemoteServer): Backend {
  const raw = {
    /** By KEYS, else by SCAN: some servers keep one of them back. */
    keys: async (pattern: string) =>
      ask(server, "KEYS", pattern).catch(async () => {
        const keys: string[] = [];
        for (let cursor = ""; cursor !== "0"; ) {
          const page = await ask(server, "SCAN", cursor || "0", "MATCH", pattern, "COUNT", "1000");
          keys.push(...(page as [string, string[]])[1]);
          cursor = String((page as [string, string[]])[0]);
        }
        return keys;
      }),
    set: (...args: (string | number)[]) => ask(server, "SET", ...args.map(String)),
    ...Object.fromEntries(
      ["get", "del", "pttl", "exists", "rpush", "hset", "lrange", "hgetall", "type"].map((name) => [
        name,
        (...args: (string | number)[]) => ask(server, name.toUpperCase(), ...args.map(String)),
      ]),
    ),
  };
  return {
    raw: raw as unknown as RawRedis,
    // It has no meter, and no engine behind it that could be reached.
    server: { ...server } as Backend["server"],
    polls: process.env.CONTRACT_POLLS !== undefined,
    close: async () => {},
  };
}
