import { LockOptionError, show } from "../errors.ts";
import { forever } from "../time.ts";
import { type RedisClient, RefusedError } from "./client.ts";

/** Next.js 13 and 14 keep what was fetched, POST included. `cache: "no-store"` is an error on older Workers. */
const uncached = { next: { revalidate: 0 } };

/**
 * A client of Upstash's REST API on the platform's own `fetch`. One command is one request; nothing is sent
 * twice, and no reply is handed on that the server did not send.
 * @param url by default that of the environment; so is the token
 */
export function restClient(url: unknown, token: unknown): RedisClient {
  // Upstash and Vercel put them there, where there is an environment.
  const env: Record<string, string | undefined> = globalThis.process?.env ?? {};
  const endpoint = readUrl(url ?? (env.UPSTASH_REDIS_REST_URL || env.KV_REST_API_URL));
  const secret = readToken(token ?? (env.UPSTASH_REDIS_REST_TOKEN || env.KV_REST_API_TOKEN));
  const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
  return {
    resendsAfter: forever,
    async send(command, signal) {
      const body = JSON.stringify(command);
      const response = await fetch(endpoint, { method: "POST", headers, body, signal, ...uncached });
      const { status } = response;
      const answer = await response.json().catch(() => {});
      // Errors of Redis come with 400; a gateway's 429 or 503 may hold JSON too, but nothing Redis said.
      if (status < 500 && status !== 429) {
        if (typeof answer?.error === "string") throw new RefusedError(answer.error);
        if (answer?.result !== undefined) return answer.result;
      }
      throw new Error(`HTTP ${status}, no reply of Redis`);
    },
    async listen(channel, hear, signal) {
      const url = `${endpoint.replace(/\/$/, "")}/subscribe/${channel}`;
      const accept = "text/event-stream";
      const response = await fetch(url, { headers: { ...headers, accept }, signal, ...uncached });
      let rest = "";
      for await (const bytes of response.body ?? []) {
        // Cut anywhere: what waiters are told is ASCII.
        const lines = (rest + new TextDecoder().decode(bytes)).split("\n");
        rest = lines.pop() as string;
        for (const line of lines) {
          // "data: subscribe,<channel>,1" first, then "data: message,<channel>,<payload>"
          const data = /^data: (?:subscribe|message,[^,]*,(.*))/.exec(line);
          if (data) hear(data[1] ?? "");
        }
      }
    },
  };
}

function readUrl(url: unknown): string {
  // fetch takes no user in a URL, and a query would come with every command.
  if (typeof url === "string" && URL.canParse(url) && /^\s*https?:[^@?]*$/i.test(url)) return url;
  throw new LockOptionError(
    "url",
    // It may hold the token, or be it, put in the wrong place: only its beginning is shown.
    show(url, 8),
    "Upstash's REST URL without user or query, here or in UPSTASH_REDIS_REST_URL or KV_REST_API_URL",
  );
}

function readToken(token: unknown): string {
  if (typeof token === "string" && /^[!-~]+$/.test(token)) return token;
  throw new LockOptionError(
    "token",
    token ? "a text no header takes" : show(token),
    "Upstash's REST token, here or in UPSTASH_REDIS_REST_TOKEN or KV_REST_API_TOKEN",
  );
}
