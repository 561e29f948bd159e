import { randomBytes } from "node:crypto";
import type { Context, Hono } from "hono";
import {
  type Command,
  commandFromBody,
  commandFromPath,
  commandsFromBody,
  MalformedRequest,
} from "./command.ts";
import { type Engine, EngineUnreachable } from "./engine.ts";
import { eventStream } from "./event-stream.ts";
import type { Counter } from "./meter.ts";
import type { Network } from "./network.ts";
import { type Reply, toJson } from "./reply.ts";
import type { Kind, Subscriptions } from "./subscriptions.ts";
import { refusal } from "./unsupported-commands.ts";

/** Upstash's default limit, in bytes. */
const MAX_BODY = 10 * 1024 * 1024;
const EVENT_STREAM = { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" };
const METHODS = ["GET", "HEAD", "POST", "PUT"];

export interface Parts {
  engine: Engine;
  subscriptions: Subscriptions;
  network: Network;
  counter: Counter;
}

/** Upstash's REST API, for requests that carried the token. */
export function addRoutes(app: Hono, { engine, subscriptions, network, counter }: Parts): Hono {
  const syncToken = createSyncToken();

  app.onError((error, c) => {
    if (error instanceof MalformedRequest) return c.json({ error: error.message }, 400);
    if (error instanceof EngineUnreachable) return c.json({ error: error.message }, 503);
    return c.json({ error: `ERR internal error of the dev server: ${error.message}` }, 500);
  });

  app.use(async (c, next) => {
    counter.request();
    if (!METHODS.includes(c.req.method)) {
      return c.json({ error: `ERR method ${c.req.method} is not allowed` }, 405, {
        Allow: METHODS.join(", "),
      });
    }
    if ((c.req.header("upstash-response-format") ?? "json") !== "json") {
      return c.json({ error: "ERR the dev server has no other response format than json" }, 400);
    }
    return next();
  });

  app.all("/", async (c) => answerOne(c, commandFromBody(await body(c))));

  app.all("/pipeline", async (c) => {
    const commands = commandsFromBody(await body(c), "pipeline");
    const refused = commands.map(refusal);
    const allowed = commands.filter((_, i) => refused[i] === undefined);
    const { answer, calls } = await engine.run(allowed);
    bill(commands, calls);
    const rest = answer.values();
    return respond(
      c,
      commands,
      refused.map((error) => (error === undefined ? (rest.next().value as Reply) : { error })),
    );
  });

  app.all("/multi-exec", async (c) => {
    const commands = commandsFromBody(await body(c), "transaction");
    const error = commands.map(refusal).find((refused) => refused !== undefined);
    const { answer, calls } =
      error === undefined
        ? await engine.transact(commands)
        : { answer: { error: `EXECABORT Transaction discarded because of: ${error}` }, calls: [] };
    bill(commands, calls);
    return respond(c, commands, answer);
  });

  app.all("/subscribe/*", (c) => stream(c, "subscribe"));
  app.all("/psubscribe/*", (c) => stream(c, "psubscribe"));
  app.all("*", async (c) => answerOne(c, commandFromPath(target(c), await body(c))));

  async function answerOne(c: Context, command: Command): Promise<Response> {
    const error = refusal(command);
    const { answer, calls } =
      error === undefined ? await engine.run([command]) : { answer: [{ error }], calls: [] };
    bill([command], calls);
    return respond(c, [command], answer[0] as Reply);
  }

  async function stream(c: Context, kind: Kind): Promise<Response> {
    const [, ...args] = commandFromPath(target(c).replace(/\?.*/s, ""), Buffer.alloc(0));
    const channels = args.map(String);
    if (channels.length === 0)
      throw new MalformedRequest(`ERR wrong number of arguments for '${kind}' command`);
    // A stream that nobody reads would never end.
    if (c.req.method === "HEAD") return c.body(null, 200, EVENT_STREAM);
    for (const _ of channels) counter.command(kind);
    const messages = await eventStream(kind, channels, subscriptions, network, (count) => {
      for (let i = 0; i < count; i++) counter.command(kind === "subscribe" ? "unsubscribe" : "punsubscribe");
    }).catch((error: Error) => {
      throw new EngineUnreachable(`Redis cannot be reached to subscribe: ${error.message}`);
    });
    return c.body(messages, 200, EVENT_STREAM);
  }

  function bill(commands: Command[], calls: string[]): void {
    for (const [name] of commands) counter.command(name);
    for (const name of calls) counter.command(name);
  }

  function respond(c: Context, commands: Command[], answer: Reply | Reply[]): Response {
    if (!commands.every(engine.onlyReads)) syncToken.change();
    c.header("upstash-sync-token", syncToken.read());
    const base64 = c.req.header("upstash-encoding")?.toLowerCase() === "base64";
    const json = (text: string, status: 200 | 400) =>
      c.body(text, status, { "Content-Type": "application/json" });
    if (Array.isArray(answer))
      return json(`[${answer.map((reply) => toJson(reply, base64)).join(",")}]`, 200);
    return json(toJson(answer, base64), "error" in answer ? 400 : 200);
  }

  return app;
}

/** Path and query as they came: Hono's own are decoded, and an argument may hold an encoded slash. */
function target(c: Context): string {
  return c.req.url.replace(/^[a-z]+:\/\/[^/?]*/i, "");
}

/**
 * The whole body. One that is too large is read to its end all the same, and thrown away: a connection cut while the
 * client still sends would hide the answer from it.
 *
 * @throws {MalformedRequest} in Upstash's words for one above the limit. The status is not documented; of those that
 * are, 400 is the one for a refused command.
 */
async function body(c: Context): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of c.req.raw.body ?? []) {
    size += chunk.length;
    if (size <= MAX_BODY) chunks.push(chunk);
    else chunks.length = 0;
  }
  if (size > MAX_BODY) {
    throw new MalformedRequest(
      `ERR max request size exceeded. Limit: ${MAX_BODY} bytes, Actual: ${size} bytes`,
    );
  }
  return Buffer.concat(chunks);
}

/** An opaque text that is another one after each write. */
function createSyncToken() {
  const prefix = randomBytes(6);
  let writes = 0;
  return {
    change() {
      writes++;
    },
    read: () => Buffer.concat([prefix, Buffer.from(writes.toString(36))]).toString("base64"),
  };
}
