import { randomBytes } from "node:crypto";
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
import { type Answer, type ApiRequest, ClientGone, json, jsonText, MAX_BODY } from "./exchange.ts";
import type { Counter } from "./meter.ts";
import type { Network } from "./network.ts";
import { type Reply, toJson, toResp2 } from "./reply.ts";
import type { Kind, Subscriptions } from "./subscriptions.ts";
import { notOnUpstash, notOverRest } from "./unsupported-commands.ts";
import type { User } from "./users.ts";

const EVENT_STREAM = { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" };
const METHODS = ["GET", "HEAD", "POST", "PUT"];

export interface Parts {
  engine: Engine;
  subscriptions: Subscriptions;
  network: Network;
  counter: Counter;
  activity: Activity;
}

/** Answers a request that carried a user's token. */
export type Api = (request: ApiRequest, user: User) => Promise<Answer>;

/** Upstash's REST API. */
export function createApi({ engine, subscriptions, network, counter, activity }: Parts): Api {
  const syncToken = createSyncToken();

  async function route(request: ApiRequest, user: User): Promise<Answer> {
    const { path } = request;
    if (path === "/") return one(request, user, commandFromBody(await body(request)));
    if (path === "/pipeline") return pipeline(request, user);
    if (path === "/multi-exec") return transaction(request, user);
    if (path === "/monitor") return monitor(request, user);
    const [, kind] = /^\/(p?subscribe)(?:\/|$)/.exec(path) ?? [];
    if (kind) return stream(request, kind as Kind);
    return one(request, user, commandFromPath(request.target, await body(request)));
  }

  /** Why a request cannot be served as it asks, or undefined. */
  function refusedAsAWhole(request: ApiRequest): Answer | undefined {
    const { method } = request;
    if (!METHODS.includes(method)) {
      return json({ error: `ERR method ${method} is not allowed` }, 405, { Allow: METHODS.join(", ") });
    }
    const format = request.header("upstash-response-format") ?? "json";
    // Both are refused with 400, https://upstash.com/docs/redis/features/restapi says, and not in which words.
    if (format !== "json" && format !== "resp2") {
      return json({ error: `ERR unknown response format '${format}', expected json or resp2` }, 400);
    }
    if (format === "resp2" && wantsBase64(request)) {
      return json({ error: "ERR Upstash-Encoding: base64 goes with the response format json only" }, 400);
    }
    return undefined;
  }

  async function pipeline(request: ApiRequest, user: User): Promise<Answer> {
    const commands = commandsFromBody(await body(request), "pipeline");
    const refused = commands.map((command) => refusalFor(user, command));
    const allowed = commands.filter((_, i) => refused[i] === undefined);
    activity.tell(allowed);
    const { answer, calls } = await engine.run(allowed);
    bill(commands, calls);
    const rest = answer.values();
    return respond(
      request,
      commands,
      refused.map((error) => (error === undefined ? (rest.next().value as Reply) : { error })),
    );
  }

  async function transaction(request: ApiRequest, user: User): Promise<Answer> {
    const commands = commandsFromBody(await body(request), "transaction");
    const error = commands
      .map((command) => refusalFor(user, command))
      .find((refused) => refused !== undefined);
    if (error === undefined) activity.tell(commands);
    const { answer, calls } =
      error === undefined
        ? await engine.transact(commands)
        : { answer: { error: `EXECABORT Transaction discarded because of: ${error}` }, calls: [] };
    bill(commands, calls);
    // Transactions are answered in JSON, whatever format is asked for.
    return respondInJson(request, commands, answer);
  }

  function monitor({ method }: ApiRequest, user: User): Answer {
    if (user.readOnly) return json({ error: noPermission("monitor") }, 400);
    if (method === "HEAD") return { status: 200, headers: EVENT_STREAM, body: "" };
    counter.command("monitor");
    const stream = openEventStream(network, () => unfollow());
    const unfollow = activity.follow({ line: stream.write, end: stream.finish });
    stream.write('"OK"');
    return { status: 200, headers: EVENT_STREAM, body: stream.body };
  }

  async function one(request: ApiRequest, user: User, command: Command): Promise<Answer> {
    const error = refusalFor(user, command);
    if (error === undefined) activity.tell([command]);
    const { answer, calls } =
      error === undefined ? await engine.run([command]) : { answer: [{ error }], calls: [] };
    bill([command], calls);
    return respond(request, [command], answer[0] as Reply);
  }

  /** Why the command is not run for this user, or undefined when it is. */
  function refusalFor(user: User, command: Command): string | undefined {
    const allowed = !user.readOnly || (engine.onlyReads(command) && !READ_BY_OWNER_ONLY.test(command[0]));
    return notOverRest(command) ?? (allowed ? notOnUpstash(command) : noPermission(command[0]));
  }

  async function stream({ method, target }: ApiRequest, kind: Kind): Promise<Answer> {
    const [, ...args] = commandFromPath(target.replace(/\?.*/s, ""), Buffer.alloc(0));
    const channels = args.map(String);
    if (channels.length === 0)
      throw new MalformedRequest(`ERR wrong number of arguments for '${kind}' command`);
    // A stream that nobody reads would never end.
    if (method === "HEAD") return { status: 200, headers: EVENT_STREAM, body: "" };
    for (const _ of channels) counter.command(kind);
    const messages = await messageStream(kind, channels, subscriptions, network, () => {
      for (const _ of channels) counter.command(kind === "subscribe" ? "unsubscribe" : "punsubscribe");
    }).catch((error: Error) => {
      throw new EngineUnreachable(`Redis cannot be reached to subscribe: ${error.message}`);
    });
    return { status: 200, headers: EVENT_STREAM, body: messages };
  }

  function bill(commands: Command[], calls: string[]): void {
    for (const [name] of commands) counter.command(name);
    for (const name of calls) counter.command(name);
  }

  function respond(request: ApiRequest, commands: Command[], answer: Reply | Reply[]): Answer {
    if (request.header("upstash-response-format") !== "resp2")
      return respondInJson(request, commands, answer);
    // Upstash promises what a connection would bring: of a pipeline that is one reply after the other.
    const replies = Array.isArray(answer) ? answer : [answer];
    return {
      status: !Array.isArray(answer) && "error" in answer ? 400 : 200,
      headers: { ...syncHeader(commands), "Content-Type": "application/octet-stream" },
      body: Buffer.concat(replies.map(toResp2)),
    };
  }

  function respondInJson(request: ApiRequest, commands: Command[], answer: Reply | Reply[]): Answer {
    const headers = syncHeader(commands);
    const base64 = wantsBase64(request);
    if (Array.isArray(answer))
      return jsonText(`[${answer.map((reply) => toJson(reply, base64)).join(",")}]`, 200, headers);
    return jsonText(toJson(answer, base64), "error" in answer ? 400 : 200, headers);
  }

  function syncHeader(commands: Command[]): Record<string, string> {
    if (!commands.every((command) => engine.onlyReads(command) || /^publish$/i.test(command[0]))) {
      syncToken.change();
    }
    return { "upstash-sync-token": syncToken.read() };
  }

  return async (request, user) => {
    counter.request();
    try {
      return refusedAsAWhole(request) ?? (await route(request, user));
    } catch (error) {
      if (error instanceof MalformedRequest) return json({ error: error.message }, 400);
      if (error instanceof EngineUnreachable) return json({ error: error.message }, 503);
      if (error instanceof ClientGone) throw error;
      return json({ error: `ERR internal error of the dev server: ${(error as Error).message}` }, 500);
    }
  };
}

const wantsBase64 = ({ header }: ApiRequest) => header("upstash-encoding")?.toLowerCase() === "base64";

/** Reads that Upstash keeps from a read-only token (https://upstash.com/docs/redis/features/restapi). */
const READ_BY_OWNER_ONLY = /^(keys|scan)$/i;

/** The words of Redis 6, which Upstash's are a copy of. Its status is not documented: 400 is that of a failed command. */
function noPermission(name: string): string {
  return `NOPERM this user has no permissions to run the '${name.toLowerCase()}' command or its subcommand`;
}

/**
 * @throws {MalformedRequest} in Upstash's words for a body above the limit. The status is not documented; of those that
 * are, 400 is the one for a refused command.
 */
async function body(request: ApiRequest): Promise<Buffer> {
  const { bytes, size } = await request.body();
  if (size > MAX_BODY) {
    throw new MalformedRequest(
      `ERR max request size exceeded. Limit: ${MAX_BODY} bytes, Actual: ${size} bytes`,
    );
  }
  return bytes;
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
