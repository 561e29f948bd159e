import { LockOptionError, show } from "../errors.ts";
import { forever } from "../time.ts";
import { type RedisClient, RefusedError, ReplyError } from "./client.ts";

/**
 * A client of Upstash's REST API on the platform's own `fetch`. One command is one request; nothing is sent
 * twice, and no reply is handed on that the server did not send.
 */
export function restClient(url: unknown, token: unknown): RedisClient {
  const endpoint = readUrl(url);
  const headers = { authorization: `Bearer ${readToken(token)}`, "content-type": "application/json" };
  return {
    resendsAfter: forever,
    async send(command, signal) {
      const response = await fetch(endpoint, {
        method: "POST",
        headers,
        body: JSON.stringify(command),
        signal,
      });
      const { status } = response;
      if (status === 401 || status === 403) throw new RefusedError(`HTTP ${status}: the token was refused`);
      // Errors of Redis come with 400; a gateway's 429 or 503 may hold JSON too, but nothing Redis said.
      const body = status < 500 && status !== 429 ? await response.json().catch(() => {}) : {};
      if (typeof body?.error === "string") throw new ReplyError(body.error);
      if (body?.result === undefined) throw new Error(`HTTP ${status} with no reply of Redis in it`);
      return body.result;
    },
  };
}

/** The credentials Upstash and Vercel put in the environment, where there is one. */
export function environment(): { url: string | undefined; token: string | undefined } {
  const env: Record<string, string | undefined> = globalThis.process?.env ?? {};
  return {
    url: env.UPSTASH_REDIS_REST_URL || env.KV_REST_API_URL,
    token: env.UPSTASH_REDIS_REST_TOKEN || env.KV_REST_API_TOKEN,
  };
}

function readUrl(url: unknown): string {
  const fits = "the https:// URL of Upstash's REST API, here or in UPSTASH_REDIS_REST_URL or KV_REST_API_URL";
  if (typeof url !== "string" || !URL.canParse(url)) {
    // It may be the token, put in the wrong place: only its beginning is shown.
    const given = typeof url === "string" && url.length > 16 ? `"${url.slice(0, 8)}…"` : show(url);
    throw new LockOptionError("url", given, fits);
  }
  const { protocol, host, username, search } = new URL(url);
  if (/^https?:$/.test(protocol) && !username && !search) return url;
  // fetch takes no URL with a user in it, and a query may hold a token: neither is shown.
  throw new LockOptionError("url", `"${protocol}//…${host}"`, `${fits}, without user or query`);
}

function readToken(token: unknown): string {
  if (typeof token === "string" && /^[\x21-\x7e]+$/.test(token)) return token;
  throw new LockOptionError(
    "token",
    token ? "a text no header takes" : show(token),
    "the token of Upstash's REST API, here or in UPSTASH_REDIS_REST_TOKEN or KV_REST_API_TOKEN",
  );
}
