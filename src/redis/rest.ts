import { LockOptionError, show } from "../errors.ts";
import { type RedisClient, RefusedError, ReplyError } from "./client.ts";

/**
 * A client of Upstash's REST API on the platform's own `fetch`. One command is one request; nothing is sent
 * twice, and no reply is handed on that the server did not send.
 */
export function restClient(url: unknown, token: unknown): RedisClient {
  const endpoint = readUrl(url);
  const headers = { authorization: `Bearer ${readToken(token)}`, "content-type": "application/json" };
  return {
    async send(command, signal) {
      const response = await fetch(endpoint, {
        method: "POST",
        headers,
        body: JSON.stringify(command),
        signal,
      });
      const { status } = response;
      const body = parse(await response.text());
      if (status === 401 || status === 403) throw new RefusedError(`HTTP ${status}: the token was refused`);
      if (status < 500 && status !== 429) {
        if (typeof body?.error === "string") throw new ReplyError(body.error);
        if (response.ok && body && "result" in body) return body.result;
      }
      throw new Error(`HTTP ${status} with no reply of Redis in it`);
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

function parse(text: string): { result?: unknown; error?: unknown } | undefined {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null ? body : undefined;
  } catch {
    return undefined;
  }
}

const urlFits =
  "the https:// URL of Upstash's REST API, here or in UPSTASH_REDIS_REST_URL or KV_REST_API_URL";

function readUrl(url: unknown): string {
  if (typeof url !== "string" || !URL.canParse(url)) {
    // It may be the token, put in the wrong place: only its beginning is shown.
    const given = typeof url === "string" && url.length > 16 ? `"${url.slice(0, 8)}…"` : show(url);
    throw new LockOptionError("url", given, urlFits);
  }
  const { protocol, host, username, search } = new URL(url);
  // fetch takes no URL with a user in it, and a query may hold a token: neither is shown.
  if (!/^https?:$/.test(protocol) || username || search) {
    throw new LockOptionError("url", `"${protocol}//…${host}"`, `${urlFits}, without user or query`);
  }
  return url;
}

function readToken(token: unknown): string {
  if (typeof token === "string" && /^[\x21-\x7e]+$/.test(token)) return token;
  const given =
    typeof token === "string" ? "a text with spaces or other characters no header takes" : show(token);
  throw new LockOptionError(
    "token",
    token === "" ? "an empty text" : given,
    "the token of Upstash's REST API, here or in UPSTASH_REDIS_REST_TOKEN or KV_REST_API_TOKEN",
  );
}
