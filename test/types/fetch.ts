// Type tests: this file is only compiled. A line under @ts-expect-error must be an error.
import { createLocker, type Lock } from "serverless-lock";
import { lockFetch } from "serverless-lock/fetch";
import { oncePerTick } from "serverless-lock/schedule";

/** Holds only if the two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <_ extends true>() => {};

// What Vercel, Deno and Bun call.
const plain = lockFetch({ key: (request: Request) => new URL(request.url).pathname }, async (request) => {
  const lock: Lock = request.lock;
  // @ts-expect-error: a lock has no such thing
  lock.unlock();
  return Response.json({ key: lock.key, method: request.method });
});
same<Same<typeof plain, (request: Request) => Promise<Response>>>();
const byHandler = lockFetch({ key: "k" }, (request: Request) => new Response(request.url));
same<Same<typeof byHandler, (request: Request) => Promise<Response>>>();
const untold = lockFetch({ key: "k" }, (request) => new Response(request.lock.key));
same<Same<typeof untold, (request: Request) => Promise<Response>>>();

/** As Next.js' NextRequest: a Request with more. */
declare class NextRequest extends Request {
  readonly nextUrl: URL & { locale: string };
  readonly cookies: { get(name: string): { value: string } | undefined };
}
interface RouteContext {
  params: Promise<{ order: string }>;
}

// A route of Next.js: a request and a context of its own.
const POST = lockFetch(
  { key: (request: NextRequest, _context: RouteContext) => `order:${request.nextUrl.pathname}`, ttl: "10s" },
  async (request, { params }) => {
    const { order } = await params;
    return Response.json({ order, locale: request.nextUrl.locale, until: request.lock.remaining });
  },
);
same<Same<typeof POST, (request: NextRequest, _context: RouteContext) => Promise<Response>>>();
const PUT = lockFetch({ key: "k" }, async (request: NextRequest, { params }: RouteContext) =>
  Response.json({ order: (await params).order, user: request.cookies.get("user")?.value }),
);
same<Same<Parameters<typeof PUT>, [request: NextRequest, context: RouteContext]>>();
// @ts-expect-error: the context is missing
PUT({} as NextRequest);
// @ts-expect-error: a plain Request is too little
PUT({} as Request, {} as RouteContext);

// With a key of the request alone.
const PATCH = lockFetch(
  { key: (request) => new URL(request.url).pathname },
  async (request, { params }: RouteContext) => Response.json([(await params).order, request.lock.key]),
);
same<Same<typeof PATCH, (request: Request, context: RouteContext) => Promise<Response>>>();
const ofNext = lockFetch(
  {
    key: (request: NextRequest) => request.nextUrl.pathname,
    ifBusy: (_error, { nextUrl }) => new Response(nextUrl.locale),
  },
  async (request, { params }: RouteContext) => Response.json([(await params).order, request.nextUrl.locale]),
);
same<Same<typeof ofNext, (request: NextRequest, context: RouteContext) => Promise<Response>>>();
const bothTold = lockFetch(
  { key: (request: Request) => request.url },
  async (request: NextRequest, { params }: RouteContext) => Response.json([request.nextUrl, await params]),
);
same<Same<Parameters<typeof bothTold>, [request: NextRequest, context: RouteContext]>>();
const keyOfHandlers = lockFetch(
  { key: async (request, { params }) => `${request.nextUrl.pathname} ${(await params).order}` },
  async (request: NextRequest, { params }: RouteContext) => Response.json([request.nextUrl, await params]),
);
same<Same<Parameters<typeof keyOfHandlers>, [request: NextRequest, context: RouteContext]>>();
const withLock = lockFetch(
  { key: "k" },
  async (request: NextRequest & { lock: Lock }, { params }: RouteContext) =>
    Response.json([request.lock.key, request.nextUrl, await params]),
);
same<Same<Parameters<typeof withLock>[1], RouteContext>>();
const tick = lockFetch({ ...oncePerTick("report", { period: "1d" }) }, async (request: NextRequest) =>
  Response.json(request.nextUrl),
);
same<Same<Parameters<typeof tick>, [request: NextRequest]>>();
const tickWithContext = lockFetch(
  { ...oncePerTick("report", { period: "1d" }) },
  async (request: NextRequest, { params }: RouteContext) => Response.json([request.nextUrl, await params]),
);
same<Same<Parameters<typeof tickWithContext>, [request: NextRequest, context: RouteContext]>>();

// Deno's and Bun's further argument.
const serve = lockFetch(
  { key: (_request, info: { remoteAddr: { hostname: string } }) => info.remoteAddr.hostname },
  (request: Request, info: { remoteAddr: { hostname: string } }) =>
    new Response(info.remoteAddr.hostname + request.url),
);
const served: Promise<Response> = serve(new Request("http://a"), { remoteAddr: { hostname: "a" } });

const locker = createLocker();
lockFetch({ key: "k", locker, ifBusy: "skip", wait: "2s" }, () => new Response());
lockFetch({ key: "k", ifBusy: "throw", onLost: "ignore" }, () => new Response());
lockFetch(
  { key: "k", ifBusy: (error, request) => Response.json({ url: request.url, ...error }) },
  () => new Response(),
);
lockFetch(
  {
    key: "k",
    ifBusy: async (error, request, { params }) => Response.json([error.owner, request.nextUrl, await params]),
  },
  (_request: NextRequest, _context: RouteContext) => new Response(),
);

// A key of what only the body tells, and a listener of what went wrong.
const webhook = lockFetch(
  {
    key: async (request: NextRequest) => `event:${(await request.clone().json()).id}`,
    onError: (error, request) => console.error(error.code, error.cause, request.nextUrl),
  },
  (request) => new Response(request.lock.key),
);
same<Same<typeof webhook, (request: NextRequest) => Promise<Response>>>();
lockFetch({ key: "k", onError: async () => {} }, () => new Response());
// @ts-expect-error: a listener is a function
lockFetch({ key: "k", onError: "print" }, () => new Response());
// @ts-expect-error: an answer is a Response
lockFetch({ key: "k", ifBusy: () => ({ status: 423 }) }, () => new Response());
// @ts-expect-error: and so is what the handler returns
lockFetch({ key: "k" }, () => "done");
// @ts-expect-error: no key
lockFetch({ ttl: "10s" }, () => new Response());
// @ts-expect-error: a key is a text
lockFetch({ key: (request: Request) => new URL(request.url) }, () => new Response());
// @ts-expect-error: in its own time, too
lockFetch({ key: async (request: Request) => new URL(request.url) }, () => new Response());
// @ts-expect-error: no duration
lockFetch({ key: "k", wait: "soon" }, () => new Response());
// @ts-expect-error: misspelt
lockFetch({ key: "k", tll: "10s" }, () => new Response());

export { served };
