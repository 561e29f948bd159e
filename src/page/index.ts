// A page that shows locks and steers them: one handler of web requests.
import { listEvery } from "../admin/every.ts";
import { type Inspection, pause, release, setLimit, unpause } from "../admin/index.ts";
import type { Locker } from "../api.ts";
import { withDoor } from "../door.ts";
import { LockOptionError, LockUnavailableError, show } from "../errors.ts";
import { checkNames, checkOptional } from "../options/rules.ts";
import { document } from "./document.ts";

/** What somebody wants to do. */
export interface PageAction {
  /** `"pause"` is for `unpause`, too. */
  action: "see" | "release" | "limit" | "pause";
  /** The lock's key. Undefined for `"see"`: that shows all. */
  key?: string | undefined;
}

export interface PageOptions {
  /** Made by `createLocker` or `memoryLocker`. */
  locker: Locker;
  /** Says whether a request may do what it asks for. Asked for each request. @default nobody may do anything */
  authorize?: ((request: Request, asked: PageAction) => boolean | Promise<boolean>) | undefined;
  /** The path at which the page is mounted, such as `/locks`: others are answered with 404. @default any path */
  prefix?: string | undefined;
}

/** How many pages of `list` one look takes at most, of 1,000 keys each. */
const mostPages = 20;

/**
 * The handler of the page: mount it for GET and POST in Hono, Next.js, a Worker, Deno or Node. Without `authorize` it
 * answers 403.
 *
 * @example
 * app.all("/locks", (c) => page(c.req.raw));
 * const page = lockPage({ locker, authorize: (request) => isAdmin(request), prefix: "/locks" });
 *
 * @throws LockOptionError when an option is wrong
 */
export function lockPage(options: PageOptions): (request: Request) => Promise<Response> {
  checkNames(options, ["locker", "authorize", "prefix"]);
  const { locker, authorize, prefix } = options;
  withDoor(locker);
  checkOptional("authorize", authorize);
  if (prefix !== undefined && !(typeof prefix === "string" && /^\/[^?#]*$/.test(prefix)))
    throw new LockOptionError("prefix", show(prefix), 'a path such as "/locks"');
  const path = prefix && pathOf(new URL(`http://a${prefix}`));
  const may = async (request: Request, asked: PageAction) => (await authorize?.(request, asked)) === true;

  return async (request) => {
    const url = new URL(request.url);
    if (path !== undefined && pathOf(url) !== path) return told(404, "Not found");
    try {
      switch (request.method) {
        case "GET":
        case "HEAD":
          if (!(await may(request, { action: "see" }))) return told(403, "You may not see the locks");
          if (!url.searchParams.has("data")) return document();
          return json(200, await look(locker, url.searchParams.get("start") ?? ""));
        case "POST": {
          if (!isOwn(request, url)) return told(403, "Only the page itself may steer");
          const asked = readSteering(
            await request
              .clone()
              .json()
              .catch(() => undefined),
          );
          if (!asked) return told(400, "Not an action of the page");
          const { action, key } = asked;
          if (!(await may(request, { action: action === "unpause" ? "pause" : action, key })))
            return told(403, "You may not do that");
          return json(200, await steer(locker, asked));
        }
        default:
          return told(405, "GET or POST", { allow: "GET, HEAD, POST" });
      }
    } catch (error) {
      // The locker's own options may be wrong, too: that is not for whoever sees the page.
      if (error instanceof LockOptionError && ["key", "limit"].includes(error.option))
        return told(400, error.message);
      console.error(error);
      return error instanceof LockUnavailableError ? told(503, error.message) : told(500, "Something failed");
    }
  };
}

/** As a browser sends it, with or without a slash at its end. */
function pathOf({ pathname }: URL): string {
  return pathname.replace(/\/+$/, "");
}

/** What a look at the locks gives the page. */
export interface Seen {
  locks: Inspection[];
  /** Whether there are more keys than one look takes. */
  more: boolean;
  /** What it cost, about. */
  requests: number;
  commands: number;
}

async function look(locker: Locker, start: string): Promise<Seen> {
  const { locks, pages, more } = await listEvery(locker, start, mostPages);
  const asked = locks.filter(({ state, waiters }) => state === "foreign" || waiters.length === 0).length;
  return {
    locks,
    more,
    requests: 2 * pages,
    commands: 4 * pages + asked,
  };
}

type Steering =
  | { action: "release"; key: string; now: boolean }
  | { action: "limit"; key: string; limit: number | undefined }
  | { action: "pause" | "unpause"; key: string };

function readSteering(body: unknown): Steering | undefined {
  const { action, key, now, limit } = Object(body) as Record<string, unknown>;
  if (typeof key !== "string") return undefined;
  if (action === "release") return { action, key, now: now === true };
  if (action === "limit" && (limit === null || typeof limit === "number"))
    return { action, key, limit: limit ?? undefined };
  return action === "pause" || action === "unpause" ? { action, key } : undefined;
}

async function steer(locker: Locker, asked: Steering): Promise<unknown> {
  const { key } = asked;
  if (asked.action === "release") return release(locker, key, { now: asked.now });
  if (asked.action === "limit") await setLimit(locker, key, asked.limit);
  else await (asked.action === "pause" ? pause : unpause)(locker, key);
  return {};
}

/** Whether the page sent it. No other site can set this header without being allowed to first, which it never is. */
function isOwn({ headers }: Request, { host }: URL): boolean {
  const [site, origin] = [headers.get("sec-fetch-site"), headers.get("origin")];
  const same = site === null || site === "same-origin";
  // Behind a proxy the request's own host is not the browser's.
  const known = site !== null || origin === null || hostOf(origin) === (headers.get("host") ?? host);
  return same && known && headers.get("x-serverless-lock") === "page";
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

const common = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
};

function json(status: number, value: unknown): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { ...common, "content-type": "application/json" },
  });
}

function told(status: number, error: string, headers: Record<string, string> = {}): Response {
  const answer = json(status, { error });
  for (const [name, value] of Object.entries(headers)) answer.headers.set(name, value);
  return answer;
}
