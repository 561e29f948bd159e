import { randomBytes } from "node:crypto";
import type { Context, Hono } from "hono";
import type { Activity } from "./activity.ts";
import {
  type Command,
  commandFromBody,
  commandFromPath,
  commandsFromBody,
  MalformedRequest,
} from "./command.ts";
import { type Engine, EngineUnreachable } from "./engine.ts";
import { messageStream, openEventStream } from "./event-stream.ts";
import type { Counter } from "./meter.ts";
import type { Network } from "./network.ts";
import { type Reply, toJson, toResp2 } from "./reply.ts";
import type { Kind, Subscriptions } from "./subscriptions.ts";
import { refusal } from "./unsupported-commands.ts";
import type { User } from "./users.ts";

/** Upstash's default limit, in bytes. */
const MAX_BODY = 10 * 1024 * 1024;
const EVENT_STREAM = { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" };
const METHODS = ["GET", "HEAD", "POST", "PUT"];

export interface Parts {
  engine: Engine;
  subscriptions: Subscriptions;
  network: Network;
  counter: Counter;
  activity: Activity;
}

/** What the gate tells of a request. */
export interface ApiBindings {
  user: User;
}

/** Upstash's REST API, for requests that carried a token. */
export function addRoutes(app: Hono, { engine, subscriptions, network, counter, activity }: Parts): Hono {
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
    const format = c.req.header("upstash-response-format") ?? "json";
    // Both are refused with 400, https://upstash.com/docs/redis/features/restapi says, and not in which words.
    if (format !== "json" && format !== "resp2") {
      return c.json({ error: `ERR unknown response format '${format}', expected json or resp2` }, 400);
    }
    if (format === "resp2" && wantsBase64(c)) {
      return c.json({ error: "ERR Upstash-Encoding: base64 goes with the response format json only" }, 400);
    }
    return next();
  });

  app.all("/", async (c) => answerOne(c, commandFromBody(await body(c))));

  app.all("/pipeline", async (c) => {
    const commands = commandsFromBody(await body(c), "pipeline");
    const refused = commands.map((command) => refusalFor(c, command));
    const allowed = commands.filter((_, i) => refused[i] === undefined);
    activity.tell(allowed);
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
    const error = commands.map((command) => refusalFor(c, command)).find((refused) => refused !== undefined);
    if (error === undefined) activity.tell(commands);
    const { answer, calls } =
      error === undefined
        ? await engine.transact(commands)
        : { answer: { error: `EXECABORT Transaction discarded because of: ${error}` }, calls: [] };
    bill(commands, calls);
    // Transactions are answered in JSON, whatever format is asked for.
    return respondInJson(c, commands, answer);
  });

  app.all("/monitor", (c) => {
    if (userOf(c).readOnly) return c.json({ error: noPermission("monitor") }, 400);
    if (c.req.method === "HEAD") return c.body(null, 200, EVENT_STREAM);
    counter.command("monitor");
    const stream = openEventStream(network, () => unfollow());
    const unfollow = activity.follow({ line: stream.write, end: stream.finish });
    stream.write('"OK"');
    return c.body(stream.body, 200, EVENT_STREAM);
  });

  app.all("/subscribe/*", (c) => stream(c, "subscribe"));
  app.all("/psubscribe/*", (c) => stream(c, "psubscribe"));
  app.all("*", async (c) => answerOne(c, commandFromPath(target(c), await body(c))));

  async function answerOne(c: Context, command: Command): Promise<Response> {
    const error = refusalFor(c, command);
    if (error === undefined) activity.tell([command]);
    const { answer, calls } =
      error === undefined ? await engine.run([command]) : { answer: [{ error }], calls: [] };
    bill([command], calls);
    return respond(c, [command], answer[0] as Reply);
  }

  /** Why the command is not run for this user, or undefined when it is. */
  function refusalFor(c: Context, command: Command): string | undefined {
    const allowed =
      !userOf(c).readOnly || (engine.onlyReads(command) && !READ_BY_OWNER_ONLY.test(command[0]));
    return refusal(command) ?? (allowed ? undefined : noPermission(command[0]));
  }

  async function stream(c: Context, kind: Kind): Promise<Response> {
    const [, ...args] = commandFromPath(target(c).replace(/\?.*/s, ""), Buffer.alloc(0));
    const channels = args.map(String);
    if (channels.length === 0)
      throw new MalformedRequest(`ERR wrong number of arguments for '${kind}' command`);
    // A stream that nobody reads would never end.
    if (c.req.method === "HEAD") return c.body(null, 200, EVENT_STREAM);
    for (const _ of channels) counter.command(kind);
    const messages = await messageStream(kind, channels, subscriptions, network, () => {
      for (const _ of channels) counter.command(kind === "subscribe" ? "unsubscribe" : "punsubscribe");
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
    if (c.req.header("upstash-response-format") !== "resp2") return respondInJson(c, commands, answer);
    addSyncToken(c, commands);
    // Upstash promises what a connection would bring: of a pipeline that is one reply after the other.
    const replies = Array.isArray(answer) ? answer : [answer];
    const status = !Array.isArray(answer) && "error" in answer ? 400 : 200;
    return c.body(Buffer.concat(replies.map(toResp2)), status, {
      "Content-Type": "application/octet-stream",
    });
  }

  function respondInJson(c: Context, commands: Command[], answer: Reply | Reply[]): Response {
    addSyncToken(c, commands);
    const base64 = wantsBase64(c);
    const json = (text: string, status: 200 | 400) =>
      c.body(text, status, { "Content-Type": "application/json" });
    if (Array.isArray(answer))
      return json(`[${answer.map((reply) => toJson(reply, base64)).join(",")}]`, 200);
    return json(toJson(answer, base64), "error" in answer ? 400 : 200);
  }

  function addSyncToken(c: Context, commands: Command[]): void {
    if (!commands.every((command) => engine.onlyReads(command) || /^publish$/i.test(command[0]))) {
      syncToken.change();
    }
    c.header("upstash-sync-token", syncToken.read());
  }

  return app;
}

const userOf = (c: Context) => (c.env as ApiBindings).user;
const wantsBase64 = (c: Context) => c.req.header("upstash-encoding")?.toLowerCase() === "base64";

/** Reads that Upstash keeps from a read-only token (https://upstash.com/docs/redis/features/restapi). */
const READ_BY_OWNER_ONLY = /^(keys|scan)$/i;

/** The words of Redis 6, which Upstash's are a copy of. Its status is not documented: 400 is that of a failed command. */
function noPermission(name: string): string {
  return `NOPERM this user has no permissions to run the '${name.toLowerCase()}' command or its subcommand`;
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
