/** A command's name and arguments. A Buffer is an argument that came as a raw request body, binary perhaps. */
export type Command = [name: string, ...args: Argument[]];
type Argument = string | Buffer;

/** A request that says no command, answered with status 400. */
export class MalformedRequest extends Error {}

// The words of these errors are those public imitations of Upstash quote; Upstash documents none of them.

/** The command in the body of `POST /`: `["SET", "key", "value", "EX", 100]`. */
export function commandFromBody(body: Buffer): Command {
  const parsed = parseJson(body);
  const command = Array.isArray(parsed) ? toCommand(parsed) : undefined;
  if (!command) {
    throw new MalformedRequest(
      Array.isArray(parsed) && parsed.length === 0 ? "ERR empty command" : "ERR failed to parse command",
    );
  }
  return command;
}

/** The commands in the body of `POST /pipeline` or `/multi-exec`: an array of such arrays. */
export function commandsFromBody(body: Buffer, what: "pipeline" | "transaction"): Command[] {
  const parsed = parseJson(body);
  if (!Array.isArray(parsed)) throw new MalformedRequest(`ERR failed to parse ${what} request`);
  if (parsed.length === 0) throw new MalformedRequest(`ERR empty ${what} request`);
  return parsed.map((item) => {
    const command = Array.isArray(item) ? toCommand(item) : undefined;
    if (!command) throw new MalformedRequest(`ERR failed to parse ${what} command`);
    return command;
  });
}

/**
 * The command in `/{command}/{args…}?{more args}`: a body becomes the last argument of the path, the query's names and
 * values follow, so that `POST /set/foo?EX=100` sets the body for 100 seconds.
 *
 * @param target path and query as the request line has them, still percent-encoded.
 */
export function commandFromPath(target: string, body: Buffer): Command {
  const [path = "", query = ""] = target.split(/\?(.*)/s);
  const [name, ...args] = path
    .replace(/^\/|\/$/g, "")
    .split("/")
    .map(decode);
  if (!name) throw new MalformedRequest("ERR empty command");
  return [name, ...args, ...(body.length > 0 ? [body] : []), ...queryArguments(query)];
}

function queryArguments(query: string): string[] {
  return query
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => pair.split(/=(.*)/s, 2).map((part) => decode(part.replaceAll("+", " "))))
    .filter(([name]) => name !== "_token")
    .flatMap(([name, value]) => (value ? [name ?? "", value] : [name ?? ""]));
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new MalformedRequest("ERR failed to parse command: the URL is not valid percent-encoded UTF-8");
  }
}

function parseJson(body: Buffer): unknown {
  const text = body.toString();
  try {
    // Few have such a number, and without the function it takes a third of the time.
    return /\d{16}/.test(text)
      ? JSON.parse(text, withAllDigits as (key: string, value: unknown) => unknown)
      : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** An integer above 2^53 stays the text that it came as, where the runtime tells (Node 21 and later). */
function withAllDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || !Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  const source = context?.source ?? "";
  return /^-?\d+$/.test(source) ? source : value;
}

function toCommand(items: unknown[]): Command | undefined {
  const args: string[] = [];
  for (const item of items) {
    if (typeof item !== "string" && typeof item !== "number" && typeof item !== "boolean") return undefined;
    args.push(String(item));
  }
  const [name, ...rest] = args;
  return name === undefined ? undefined : [name, ...rest];
}
