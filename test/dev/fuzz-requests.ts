import fc from "fast-check";
import { body, bytes, mostly, oddPath, oneOf, path, scriptCommands } from "./fuzz-content.ts";

export interface FuzzedRequest {
  method: string;
  path: string;
  version: string;
  credentials: string;
  headers: string[];
  body: string;
  framing: Framing;
}

export interface Conversation {
  /** Sent in one go, over one connection. */
  requests: FuzzedRequest[];
  /** Who closes it: the client by saying that no more comes, by breaking off, or by a reset. */
  ending: "server" | "client" | "destroy" | "reset";
}

const TOKEN = "<token>";
const BEARER = `authorization: Bearer ${TOKEN}`;

/** Headers or queries that no server may let in. */
export const wrongCredentials = [
  ...["", "authorization: Bearer", "authorization: Bearer wrong", "authorization: Bearer undefined"],
  ...[`${BEARER}x`, `authorization: Bearer x${TOKEN}`, `authorization: Bearer "${TOKEN}"`],
  ...[`authorization: Bearer\t${TOKEN}`, `authorization: Bearer${TOKEN}`, `authorization: ${TOKEN}`],
  ...[`authorization: Basic ${TOKEN}`, `authorization: Bearer wrong\r\n${BEARER}`, `proxy-${BEARER}`],
  ...[`x-${BEARER}`, `cookie: _token=${TOKEN}`, `cookie: ${BEARER}`],
  ...["?_token", "?_token=", "?_token=wrong", `?_token=x${TOKEN}`, `?_token=wrong&_token=${TOKEN}`],
  ...[`?token=${TOKEN}`, `?_TOKEN=${TOKEN}`, `?a=_token=${TOKEN}`],
];
export const rightCredentials = [
  ...[BEARER, `Authorization: bearer   ${TOKEN} `, `?_token=${TOKEN}`, `?EX=100&_token=${TOKEN}`],
];

const method = mostly(
  [8, 1],
  oneOf("GET | POST | POST | PUT | HEAD"),
  oneOf("DELETE | PATCH | OPTIONS | QUERY | PROPFIND | PURGE | TRACE"),
);
const oddMethod = fc.oneof(
  oneOf(" | get | Post | CONNECT | PRI | TRACK | G\x00T | G T | \xff"),
  fc.constant("X".repeat(20_000)),
);

const header = oneOf(
  "upstash-encoding: base64 | Upstash-Encoding: BASE64 | upstash-encoding: gzip | upstash-encoding:",
  "upstash-response-format: resp2 | upstash-response-format: json | upstash-sync-token: x",
  "content-type: application/json | content-type: text/plain; charset=utf-16 | content-type: ;;",
  "content-encoding: gzip | accept-encoding: gzip, br | accept: text/event-stream | accept: ",
  "connection: keep-alive | expect: the unexpected | upgrade: h2c | range: bytes=0-1 | te: trailers",
  "__proto__: x | constructor: x | x-forwarded-host: other.example | cookie: a=b; _token=x",
  "origin: null | if-none-match: * | x-http-method-override: DELETE | content-length-x: 5",
);
const oddHeader = fc.oneof(
  oneOf("no colon | : no name | sp ace: x | x: \x00 | x: \r | folded: a\r\n b | x : y | x\xff: y | x: \xff"),
  oneOf("host: [::1 | host: a b | host: user@other | host: | host: \xff | host: a/b | host: a:99999"),
  oneOf("connection: close | connection: upgrade\r\nupgrade: websocket | expect: 100-continue"),
  fc.integer({ min: 1, max: 30_000 }).map((length) => `long: ${"x".repeat(length)}`),
  fc.integer({ min: 1, max: 3_000 }).map((count) => Array(count).fill("many: x").join("\r\n")),
  bytes,
);

const chunk = (text: string) => (text === "" ? "" : `${text.length.toString(16)}\r\n${text}\r\n`);
/** How a request says where its body ends: its headers, and the body as it is sent. */
const framings = {
  length: (text: string) => [`content-length: ${text.length}`, text],
  chunks: (text: string) => ["transfer-encoding: chunked", `${chunk(text)}0\r\n\r\n`],
  trailers: (text: string) => ["transfer-encoding: chunked", `${chunk(text)}0\r\na: b\r\n\r\n`],
  // From here on, wrong.
  none: (text: string) => ["", text],
  tooShort: (text: string) => [`content-length: ${text.length >> 1}`, text],
  tooLong: (text: string) => [`content-length: ${text.length + 7}`, text],
  negative: (text: string) => ["content-length: -1", text],
  noNumber: (text: string) => ["content-length: 0x10", text],
  twice: (text: string) => [`content-length: ${text.length}\r\ncontent-length: ${text.length + 1}`, text],
  both: (text: string) => [`content-length: ${text.length}\r\ntransfer-encoding: chunked`, chunk(text)],
  badChunk: (text: string) => ["transfer-encoding: chunked", `zz\r\n${text}\r\n0\r\n\r\n`],
  cutChunk: (text: string) => ["transfer-encoding: chunked", `ffff\r\n${text}`],
  otherCoding: (text: string) => ["transfer-encoding: gzip", text],
} satisfies Record<string, (text: string) => string[]>;
type Framing = keyof typeof framings;

const properRequest = (credentials: string[]) =>
  fc.record<FuzzedRequest>({
    method,
    path,
    version: fc.constant("HTTP/1.1"),
    credentials: fc.constantFrom(...credentials),
    headers: fc.array(header, { maxLength: 3 }).map((all) => ["host: localhost", ...all]),
    body,
    framing: fc.constantFrom<Framing>("length", "length", "chunks", "trailers"),
  });
const oddRequest = (credentials: string[]) =>
  fc.record<FuzzedRequest>({
    method: mostly([3, 1], method, oddMethod),
    path: mostly([2, 1], path, oddPath),
    version: mostly(
      [6, 1],
      fc.constant("HTTP/1.1"),
      oneOf("HTTP/1.0 | HTTP/0.9 | HTTP/2.0 | HTTP/9.9 | http/1.1 |  | RTSP/1.0"),
    ),
    credentials: fc.constantFrom(...credentials),
    headers: fc.array(mostly([2, 1, 2], header, oddHeader, fc.constant("host: localhost")), { maxLength: 5 }),
    body,
    framing: mostly(
      [1, 1],
      fc.constant<Framing>("length"),
      fc.constantFrom(...(Object.keys(framings) as Framing[])),
    ),
  });

const closing = (request: FuzzedRequest) => ({
  ...request,
  headers: [...request.headers, "connection: close"],
});
/** Requests that any HTTP server understands, whatever they say; each has to be answered. */
export const properConversation = (credentials: string[]): fc.Arbitrary<Conversation> =>
  fc.record<Conversation>({
    requests: fc
      .array(properRequest(credentials), { minLength: 1, maxLength: 5 })
      .map((all) => all.with(-1, closing(all.at(-1) as FuzzedRequest))),
    ending: fc.constant("server"),
  });
/** Requests that run scripts and functions, in each of the ways in which commands can come. */
export const scriptConversation = (credentials: string[]): fc.Arbitrary<Conversation> =>
  fc.record<Conversation>({
    requests: fc
      .tuple(scriptCommands, oneOf("/ | /pipeline | /multi-exec"), fc.constantFrom(...credentials))
      .map(([commands, path, credentials]) => {
        const bodies = path === "/" ? commands : [commands];
        const all = bodies.map(
          (body): FuzzedRequest => ({
            ...{ method: "POST", path, version: "HTTP/1.1", credentials, headers: ["host: localhost"] },
            ...{ body: JSON.stringify(body), framing: "length" },
          }),
        );
        return all.with(-1, closing(all.at(-1) as FuzzedRequest));
      }),
    ending: fc.constant("server"),
  });
/** Requests of which a server may understand nothing. */
export const oddConversation = (credentials: string[]): fc.Arbitrary<Conversation> =>
  fc.record<Conversation>({
    requests: fc.array(fc.oneof(oddRequest(credentials), properRequest(credentials)), {
      minLength: 1,
      maxLength: 4,
    }),
    ending: fc.constantFrom("client", "client", "client", "destroy", "reset"),
  });

/** The bytes of a request. */
export function render(request: FuzzedRequest, token: string): Buffer {
  const { method, path, version, credentials, headers, body, framing } = request;
  const [framed, sent] = framings[framing](body) as [string, string];
  const [query, header] = credentials.startsWith("?") ? [credentials, ""] : ["", credentials];
  const lines = [header, ...headers, framed].filter((line) => line !== "");
  const head = [`${method} ${path}${query} ${version}`, ...lines].join("\r\n");
  return Buffer.from(`${head}\r\n\r\n${sent}`.replaceAll(TOKEN, token), "latin1");
}
