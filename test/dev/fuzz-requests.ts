import fc from "fast-check";

// Every text here is bytes: one character, one byte (latin1), so that a counterexample can be read and sent alike.

export interface FuzzedRequest {
  method: string;
  path: string;
  version: string;
  credentials: string;
  headers: string[];
  body: string;
  framing: keyof typeof framings;
}

export interface Conversation {
  /** Sent in one go, over one connection. */
  requests: FuzzedRequest[];
  /** What the client does then: says that it has no more to send, or breaks off. */
  ending: "closed by the server" | "end" | "destroy" | "reset";
}

const TOKEN = "<token>";

/** Where the right token is in none of these a server may let in. */
export const wrongCredentials = [
  "",
  "authorization: Bearer",
  "authorization: Bearer wrong",
  "authorization: Bearer undefined",
  "authorization: Bearer null",
  `authorization: Bearer ${TOKEN}x`,
  `authorization: Bearer x${TOKEN}`,
  `authorization: Bearer${TOKEN}`,
  `authorization: Bearer\t${TOKEN}`,
  `authorization: Bearer "${TOKEN}"`,
  `authorization: ${TOKEN}`,
  `authorization: Basic ${TOKEN}`,
  `authorization: Bearer wrong\r\nauthorization: Bearer ${TOKEN}`,
  `proxy-authorization: Bearer ${TOKEN}`,
  `x-authorization: Bearer ${TOKEN}`,
  `cookie: _token=${TOKEN}`,
  "?_token=wrong",
  "?_token",
  "?_token=",
  `?_token=x${TOKEN}`,
  `?_token=wrong&_token=${TOKEN}`,
  `?token=${TOKEN}`,
  `?_TOKEN=${TOKEN}`,
];
export const rightCredentials = [
  `authorization: Bearer ${TOKEN}`,
  `Authorization: bearer   ${TOKEN} `,
  `?_token=${TOKEN}`,
  `?EX=100&_token=${TOKEN}`,
];

const utf8 = (text: string) => Buffer.from(text).toString("latin1");
const bytes = fc.uint8Array({ maxLength: 60 }).map((all) => Buffer.from(all).toString("latin1"));
const printable = fc.string({ unit: "grapheme-ascii", maxLength: 30 });

const names = fc.constantFrom(
  ...["SET", "get", "DEL", "INCR", "FLUSHALL", "MSET", "EVAL", "EVALSHA", "SCRIPT", "PUBLISH", "SUBSCRIBE"],
  ...["HSET", "LPUSH", "BLPOP", "XADD", "XREAD", "ZADD", "SCAN", "KEYS", "OBJECT", "COPY", "DELEX", "ECHO"],
  ...["MULTI", "EXEC", "WATCH", "AUTH", "CLIENT", "CONFIG", "DEBUG", "SHUTDOWN", "MONITOR", "SELECT", "QUIT"],
  ...[
    "INFO",
    "COMMAND",
    "TIME",
    "PING",
    "SORT",
    "RESTORE",
    "BITFIELD",
    "GEOADD",
    "nonsense",
    "",
    "__proto__",
  ],
);
const words = fc.constantFrom(
  ...["k", "known", "v", "0", "1", "-1", "1e999", "NaN", "NX", "XX", "EX", "PX", "GET", "IFEQ", "KEEPTTL"],
  ...["LOAD", "FLUSH", "BLOCK", "STREAMS", "COUNT", "*", "$", ">", "inf", "9223372036854775808", ""],
  ...["return 1", "#!lua flags=allow-key-locking\nreturn KEYS[1]", "return redis.call('SET','k','v')", "(("],
  ...["return {err='x'}", "return {1,{2,{3}},'a',false}", "\u0000", "é 🔒", "\ud800", "\r\n", "constructor"],
);
const argument = fc.oneof(
  { weight: 6, arbitrary: words },
  { weight: 2, arbitrary: fc.string() },
  { weight: 1, arbitrary: fc.oneof(fc.double(), fc.integer(), fc.boolean()) },
  { weight: 1, arbitrary: fc.constantFrom(null, {}, [], [["a"]], { toString: "x" }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 300_000 }).map((length) => "x".repeat(length)) },
);
const command = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.tuple(names, fc.array(argument, { maxLength: 5 })).map(([name, args]) => [name, ...args]),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[
        ["SET", "k", "v"],
        ["GET", "k"],
        ["DEL", "k", "known"],
        ["INCR", "n"],
        ["HSET", "h", "f", "v"],
      ],
      ...[
        ["EVAL", "return redis.call('GET', KEYS[1])", 1, "k"],
        ["FLUSHALL"],
        ["LPUSH", "l", 1, 2, 3],
        ["TIME"],
      ],
      ...[
        ["SET", "known", "changed"],
        ["MGET", "k", "n"],
        ["LRANGE", "l", 0, -1],
        ["PUBLISH", "a", "x"],
      ],
    ),
  },
);
const json = fc.oneof(
  { weight: 6, arbitrary: command },
  { weight: 3, arbitrary: fc.array(command, { maxLength: 8 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(command, fc.integer({ min: 1, max: 300 }))
      .map(([one, count]) => Array(Math.ceil(count / (1 + JSON.stringify(one).length / 1000))).fill(one)),
  },
  { weight: 1, arbitrary: fc.jsonValue() },
);
const body = fc.oneof(
  { weight: 10, arbitrary: json.map((value) => utf8(JSON.stringify(value))) },
  // Cut off, as a broken upload is.
  {
    weight: 2,
    arbitrary: fc.tuple(json, fc.nat(200)).map(([value, at]) => utf8(JSON.stringify(value)).slice(0, at)),
  },
  {
    weight: 1,
    arbitrary: json.map((value) =>
      Buffer.from(`\ufeff${JSON.stringify(value)}`, "utf16le").toString("latin1"),
    ),
  },
  { weight: 1, arbitrary: json.map((value) => utf8(`\ufeff${JSON.stringify(value)}`)) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 100_000 }).map((depth) => "[".repeat(depth)) },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 1, max: 100_000 }).map((n) => `${"[".repeat(n)}${"]".repeat(n)}`),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('{"__proto__":["GET"]}', '["SET","k",1e999]', '["GET","\\ud800"]', '"PING"'),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 300_000 }).map((length) => "\xff".repeat(length)) },
  { weight: 3, arbitrary: bytes },
  { weight: 3, arbitrary: fc.constant("") },
);

const segment = fc.oneof(
  { weight: 4, arbitrary: fc.oneof(names, words).map((word) => encodeURIComponent(word.toWellFormed())) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "%",
      "%2",
      "%zz",
      "%ff",
      "%00",
      "%2F",
      "%2e%2e",
      "..",
      ".",
      "%u0041",
      "+",
      "a;b",
    ),
  },
  { weight: 1, arbitrary: printable.map((text) => text.replace(/[\s#?\\]/g, "")) },
);
const path = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("/", "/pipeline", "/multi-exec") },
  { weight: 5, arbitrary: fc.array(segment, { maxLength: 6 }).map((all) => `/${all.join("/")}`) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      "/set/k/v",
      "/get/k",
      "/set/known/changed",
      "/flushall",
      "/incr/n",
      "/eval/return%201/0",
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom("/meter", "/faults") },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "/subscribe/a",
      "/psubscribe/*",
      "/subscribe",
      "/subscribe/%ff",
      "/subscribe/a/b",
    ),
  },
);
const oddPath = fc.oneof(
  fc.constantFrom(
    "",
    "*",
    "//",
    "///",
    "/\\",
    "\\",
    "?",
    "#",
    "/#a",
    "http://other.example/get/k",
    "https:",
    "a b",
    "/a b",
  ),
  fc.constantFrom(
    "http://",
    "//other.example/get/k",
    "/../../etc/passwd",
    "/get/\xff",
    "/get/\x00",
    "other.example:443",
  ),
  fc.integer({ min: 1, max: 40_000 }).map((length) => `/get/${"x".repeat(length)}`),
  bytes,
);
const method = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom("GET", "POST", "POST", "PUT", "HEAD") },
  {
    weight: 1,
    arbitrary: fc.constantFrom("DELETE", "PATCH", "OPTIONS", "QUERY", "PROPFIND", "PURGE", "TRACE"),
  },
);
const oddMethod = fc.constantFrom(
  "",
  "get",
  "Post",
  "CONNECT",
  "PRI",
  "TRACK",
  "G\x00T",
  "G T",
  "\xff",
  "X".repeat(20_000),
);

const header = fc.oneof(
  fc.constantFrom(
    "upstash-encoding: base64",
    "Upstash-Encoding: BASE64",
    "upstash-encoding: gzip",
    "upstash-encoding:",
  ),
  fc.constantFrom("upstash-response-format: resp2", "upstash-response-format: json", "upstash-sync-token: x"),
  fc.constantFrom(
    "content-type: application/json",
    "content-type: text/plain; charset=utf-16",
    "content-type: ;;",
  ),
  fc.constantFrom(
    "content-encoding: gzip",
    "accept-encoding: gzip, br",
    "accept: text/event-stream",
    "accept: ",
  ),
  fc.constantFrom("connection: keep-alive"),
  fc.constantFrom("expect: the unexpected", "upgrade: h2c", "range: bytes=0-1", "te: trailers"),
  fc.constantFrom(
    "__proto__: x",
    "constructor: x",
    "x-forwarded-host: other.example",
    "cookie: a=b; _token=x",
  ),
  fc.constantFrom(
    "origin: null",
    "if-none-match: *",
    "x-http-method-override: DELETE",
    "content-length-x: 5",
  ),
);
const oddHeader = fc.oneof(
  fc.constantFrom(
    "connection: upgrade\r\nupgrade: websocket",
    "connection: close",
    "expect: 100-continue",
    "no colon",
    ": no name",
    "sp ace: x",
    "x: \x00",
    "x: \r",
    "folded: a\r\n b",
    "x : y",
    "x\xff: y",
    "x: \xff",
  ),
  fc.constantFrom(
    "host: [::1",
    "host: a b",
    "host: user@other",
    "host:",
    "host: \xff",
    "host: a/b",
    "host: a:99999",
  ),
  fc.integer({ min: 1, max: 30_000 }).map((length) => `long: ${"x".repeat(length)}`),
  fc.integer({ min: 1, max: 3_000 }).map((count) => Array(count).fill("many: x").join("\r\n")),
  bytes,
);

const chunked = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
/** How the request says where its body ends: the headers, and the body as it is sent. */
const framings = {
  length: (text: string) => [`content-length: ${text.length}`, text],
  chunks: (text: string) => ["transfer-encoding: chunked", text === "" ? "0\r\n\r\n" : chunked(text)],
  trailers: (text: string) => [
    "transfer-encoding: chunked",
    `${text === "" ? "" : chunked(text).slice(0, -5)}0\r\na: b\r\n\r\n`,
  ],
  // From here on, wrong.
  none: (text: string) => ["", text],
  tooShort: (text: string) => [`content-length: ${text.length >> 1}`, text],
  tooLong: (text: string) => [`content-length: ${text.length + 7}`, text],
  negative: (text: string) => ["content-length: -1", text],
  noNumber: (text: string) => ["content-length: 0x10", text],
  twice: (text: string) => [`content-length: ${text.length}\r\ncontent-length: ${text.length + 1}`, text],
  both: (text: string) => [`content-length: ${text.length}\r\ntransfer-encoding: chunked`, chunked(text)],
  badChunk: (text: string) => ["transfer-encoding: chunked", `zz\r\n${text}\r\n0\r\n\r\n`],
  cutChunk: (text: string) => ["transfer-encoding: chunked", `ffff\r\n${text}`],
  otherCoding: (text: string) => ["transfer-encoding: gzip", text],
} satisfies Record<string, (text: string) => string[]>;
const rightFramings: FuzzedRequest["framing"][] = ["length", "length", "chunks", "trailers"];

const properRequest = (credentials: string[]) =>
  fc.record<FuzzedRequest>({
    method,
    path,
    version: fc.constant("HTTP/1.1"),
    credentials: fc.constantFrom(...credentials),
    headers: fc.array(header, { maxLength: 3 }).map((all) => ["host: localhost", ...all]),
    body,
    framing: fc.constantFrom(...rightFramings),
  });
const closing = (request: FuzzedRequest) => ({
  ...request,
  headers: [...request.headers, "connection: close"],
});

const oddRequest = (credentials: string[]) =>
  fc.record<FuzzedRequest>({
    method: fc.oneof({ weight: 3, arbitrary: method }, { weight: 1, arbitrary: oddMethod }),
    path: fc.oneof({ weight: 2, arbitrary: path }, { weight: 1, arbitrary: oddPath }),
    version: fc.oneof(
      { weight: 6, arbitrary: fc.constant("HTTP/1.1") },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          "HTTP/1.0",
          "HTTP/0.9",
          "HTTP/2.0",
          "HTTP/9.9",
          "http/1.1",
          "",
          "RTSP/1.0",
        ),
      },
    ),
    credentials: fc.constantFrom(...credentials),
    headers: fc.array(fc.oneof(header, oddHeader, fc.constant("host: localhost")), { maxLength: 5 }),
    body,
    framing: fc.constantFrom(...(Object.keys(framings) as FuzzedRequest["framing"][])),
  });

/** Requests that any HTTP server understands, whatever they say; each has to be answered. */
export const properConversation = (credentials: string[]): fc.Arbitrary<Conversation> =>
  fc.record<Conversation>({
    requests: fc
      .array(properRequest(credentials), { minLength: 1, maxLength: 5 })
      .map((all) => all.with(-1, closing(all.at(-1) as FuzzedRequest))),
    ending: fc.constant("closed by the server"),
  });
/** Requests of which a server may understand nothing. */
export const oddConversation = (credentials: string[]): fc.Arbitrary<Conversation> =>
  fc.record({
    requests: fc.array(fc.oneof(oddRequest(credentials), properRequest(credentials)), {
      minLength: 1,
      maxLength: 4,
    }),
    ending: fc.constantFrom("end", "end", "end", "destroy", "reset"),
  });

/** The bytes of a request. */
export function render(request: FuzzedRequest, token: string): Buffer {
  const { method, path, version, credentials, headers, body, framing } = request;
  const [framed, sent] = framings[framing](body) as [string, string];
  const inQuery = credentials.startsWith("?");
  const lines = [
    `${method} ${path}${inQuery ? credentials : ""} ${version}`,
    ...(inQuery || credentials === "" ? [] : [credentials]),
    ...headers,
    ...(framed === "" ? [] : [framed]),
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${sent}`.replaceAll(TOKEN, token), "latin1");
}
