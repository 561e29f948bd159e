import type { IncomingMessage, ServerResponse } from "node:http";
import { type Answer, type ApiRequest, ClientGone, json, readRequest, sendAnswer } from "./exchange.ts";
import type { FaultDice } from "./fault-dice.ts";
import { readFaults } from "./faults.ts";
import { faultyCommand, faultyStream } from "./faults-http.ts";
import type { Api } from "./http.ts";
import type { Counter } from "./meter.ts";
import type { Network } from "./network.ts";
import type { User, Users } from "./users.ts";

export interface GateParts {
  users: Users;
  network: Network;
  dice: FaultDice;
  counter: Counter;
  /** Upstash's REST API. */
  api: Api;
}

/** Answers a request of Node's HTTP server. */
export type Gate = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>;

/** What a request passes on its way to the API: the network, the token, the faults. And `/meter` and `/faults`. */
export function createGate({ users, network, dice, counter, api }: GateParts): Gate {
  const userOf = ({ header, target }: ApiRequest) => {
    const [, query = ""] = target.split(/\?(.*)/s);
    const token = query.includes("_token") ? new URLSearchParams(query).get("_token") : undefined;
    return users.find(header("authorization"), token ?? undefined);
  };

  async function gate(
    request: ApiRequest,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
  ): Promise<Answer | undefined> {
    const user = userOf(request);
    const own = request.path === "/meter" || request.path === "/faults";
    // About the server, not of it: outside of the simulated network, not counted, and met by no fault.
    const answer = own ? await aboutServer(request, user) : undefined;
    if (answer) return answer;
    const { goBack } = await network.arrive();
    const answered = user ? await served(request, user, incoming, outgoing) : unauthorized();
    await goBack();
    return answered;
  }

  function served(request: ApiRequest, user: User, incoming: IncomingMessage, outgoing: ServerResponse) {
    const meets = /^\/(p?subscribe(\/|$)|monitor\/?$)/.test(request.path) ? faultyStream : faultyCommand;
    return meets(dice, { request, incoming, outgoing, execute: () => api(request, user) });
  }

  /** Undefined for what is no matter of the server's own, but a command. */
  async function aboutServer(
    { method, path, body }: ApiRequest,
    user: User | undefined,
  ): Promise<Answer | undefined> {
    const looks = method === "GET" || method === "HEAD";
    if (!user) return unauthorized();
    if (user.readOnly && !looks) return json({ error: "NOPERM this token may read and nothing else" }, 403);
    if (path === "/meter") {
      if (method === "DELETE") counter.reset();
      return looks || method === "DELETE" ? json(counter.read()) : undefined;
    }
    if (method === "POST") {
      const refused = setFaults((await body()).bytes.toString());
      if (refused !== undefined) return json({ error: refused }, 400);
    }
    return looks || method === "POST" ? json({ set: dice.settings(), fired: dice.fired() }) : undefined;
  }

  /** @returns why they are refused. */
  function setFaults(text: string): string | undefined {
    let given: unknown;
    try {
      given = JSON.parse(text);
    } catch {
      return "ERR failed to parse faults: the body is no JSON";
    }
    try {
      dice.set(readFaults(given));
    } catch (error) {
      return `ERR ${(error as Error).message}`;
    }
    return undefined;
  }

  return async (incoming, outgoing) => {
    try {
      const request = readRequest(incoming);
      const answer = isProper(incoming)
        ? await gate(request, incoming, outgoing)
        : json({ error: "ERR failed to parse command" }, 400);
      if (answer) await sendAnswer(answer, outgoing);
    } catch (error) {
      if (error instanceof ClientGone) return;
      await sendAnswer(json({ error: `ERR internal error of the dev server: ${error}` }, 500), outgoing);
    }
  };
}

const unauthorized = () => json({ error: "WRONGPASS invalid or missing auth token" }, 401);

/** Whether it has a host, and a path that a URL may have. */
function isProper({ headers, url = "" }: IncomingMessage): boolean {
  const [path = ""] = url.split("?", 1);
  return headers.host !== undefined && !path.includes("\\") && path !== "*";
}
