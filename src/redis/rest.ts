import { LockOptionError, show } from "../errors.ts";
import { forever, whenAborted } from "../runtime.ts";
import { errorOf, type RedisClient, RefusedError } from "./client.ts";

/** Next.js 13 and 14 keep what was fetched, POST included. `cache: "no-store"` is an error on older Workers. */
const uncached = { next: { revalidate: 0 } };

/**
 * A client of Upstash's REST API on the platform's own `fetch`. One command is one request, and no reply is handed on
 * that the server did not send. A redirect is not followed: it would carry the lock's token to a stranger.
 * @param url by default that of the environment, with its token
 */
export function restClient(url: unknown, token: unknown): RedisClient {
  // Upstash and Vercel put them there, if there is an environment.
  const env: Record<string, string | undefined> = globalThis.process?.env ?? {};
  const from = env.UPSTASH_REDIS_REST_URL ? "UPSTASH_REDIS_REST" : "KV_REST_API";
  const endpoint = readUrl(url ?? env[`${from}_URL`]);
  // A token goes to the server it belongs to.
  const secret = readToken(token ?? (url === undefined ? env[`${from}_TOKEN`] : undefined));
  const authorization = `Bearer ${secret}`;
  const headers = { authorization, "content-type": "application/json" };
  // A server that does not stream is not asked for a stream again.
  let streams = true;
  const request = (path: string, init: RequestInit): Promise<Response> =>
    fetch(`${endpoint}${path}`, { redirect: "manual", ...init, ...uncached });
  return {
    exact: true,
    // Deno sends a POST again by itself when a kept-alive connection ends without a reply.
    resendsAfter: "Deno" in globalThis ? 0 : forever,
    async send(commands, signal) {
      // As texts: a server in Go reads 1000000 as 1e+06, which Redis refuses.
      const texts = commands.map((command) => command.map(String));
      const several = texts.length > 1;
      const body = JSON.stringify(several ? texts : texts[0]);
      const response = await request(several ? "/pipeline" : "", { method: "POST", headers, body, signal });
      const { status } = response;
      const answer = await response.json().catch(() => {});
      // A pipeline has an answer for each command.
      const answers = [answer].flat();
      const error = answers.find((each) => each?.error)?.error;
      // A gateway may quote what it was sent.
      const said = typeof error === "string" ? error.replaceAll(secret, "[token]") : "";
      if (status === 401 || status === 403) throw new RefusedError(said || `HTTP ${status}`);
      if (response.type === "opaqueredirect" || (status >= 300 && status < 400))
        throw new RefusedError(`HTTP ${status}: a redirect, which is not followed`);
      const results = answers.map((each) => each?.result);
      if (response.ok && !results.includes(undefined)) return results;
      // Errors of Redis come with 400, or in a pipeline. A gateway's may hold JSON too, but nothing that Redis said.
      if ((status === 400 || (several && response.ok)) && /^[A-Z]+ /.test(said)) throw errorOf(said);
      throw new Error(`HTTP ${status}, no reply of Redis`);
    },
    async listen(channel, hear, signal) {
      if (!streams) return new Promise((resolve) => void whenAborted(signal, resolve));
      const response = await request(`/subscribe/${channel}`, {
        method: "POST",
        headers: { authorization, accept: "text/event-stream" },
        signal,
      });
      let silent = cannotStream(response);
      let rest = "";
      for await (const bytes of response.body ?? []) {
        // Cut anywhere: what waiters are told is ASCII.
        const lines = (rest + new TextDecoder().decode(bytes)).split("\n");
        rest = lines.pop() as string;
        for (const line of lines) {
          // "data: subscribe,<channel>,1" first, then "data: message,<channel>,<payload>"
          const data = /^data: (?:subscribe|message,[^,]*,(.*))/.exec(line);
          if (data) {
            silent = false;
            hear(data[1] ?? "");
          }
        }
      }
      streams = !silent;
    },
  };
}

/** Whether an answer to the request for a stream says that the server has none. A gateway's 429 or 5xx is over some day. */
export function cannotStream({ status, headers }: Response): boolean {
  const lasting = status !== 429 && (status < 500 || status === 501);
  return lasting && !`${headers.get("content-type")}`.includes("event-stream");
}

function readUrl(given: unknown): string {
  // An environment's value may end in a line break.
  const url = typeof given === "string" ? given.trim() : "";
  // fetch takes no user in a URL, a query would come with every command, and blanks belong to no host.
  if (URL.canParse(url) && /^https?:[^@?#\s]*$/i.test(url)) return url.replace(/\/+$/, "");
  throw new LockOptionError(
    "url",
    // It may hold the token, or be it, put in the wrong place: only its beginning is shown.
    show(given, 8),
    "Upstash's REST URL without blanks, user or query, here or in UPSTASH_REDIS_REST_URL or KV_REST_API_URL",
  );
}

function readToken(given: unknown): string {
  const token = typeof given === "string" ? given.trim() : "";
  if (/^[!-~]+$/.test(token)) return token;
  throw new LockOptionError(
    "token",
    given ? "a text no header takes" : show(given),
    "Upstash's REST token, given with the url, or in UPSTASH_REDIS_REST_TOKEN or KV_REST_API_TOKEN",
  );
}
