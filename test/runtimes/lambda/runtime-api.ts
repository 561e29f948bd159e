import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** One invocation, seen from outside of the function. */
interface Invocation {
  id: string;
  /** What the function answered, or the error it reported. */
  outcome: Promise<Outcome>;
  /** Resolves once the handler asks whether it may do its next step. */
  asks(): Promise<void>;
  /** How many steps it has asked for. */
  steps: number;
  /** Lets it do the step it asked for. */
  go(): void;
}

type Outcome = { result: unknown } | { error: Failure };

interface Failure {
  errorType: string;
  errorMessage: string;
}

export interface RuntimeApi {
  /** What goes into `AWS_LAMBDA_RUNTIME_API`. */
  host: string;
  /** Hands an event to the function as soon as that asks for one. @param timeout ms from then until its deadline */
  invoke(event: object, timeout?: number): Invocation;
  /** How many timers of a lock were alive whenever the function asked for an event. */
  timers: number[];
  /** Resolves once the function asks for an event so many times at once, by default once, and there is none. */
  idle(times?: number): Promise<void>;
  /** Answers whoever asks for an event that there are no more. */
  shutDown(): void;
  close(): Promise<void>;
}

/**
 * A stand-in for Lambda's Runtime API, as its documentation describes it: a function polls for its next event and
 * posts a response or an error. Beside that, a handler may ask here for leave to do a step.
 */
export async function startRuntimeApi(): Promise<RuntimeApi> {
  const queue: { id: string; event: object; timeout: number }[] = [];
  const pollers: ServerResponse[] = [];
  const invocations = new Map<string, Inside>();
  const timers: number[] = [];
  let ended = false;
  let wake = () => {};

  function dispatch(): void {
    while (pollers.length > 0 && (ended || queue.length > 0)) {
      const response = pollers.shift() as ServerResponse;
      const next = queue.shift();
      if (!next) {
        response.writeHead(410).end();
        continue;
      }
      response.writeHead(200, {
        "lambda-runtime-aws-request-id": next.id,
        "lambda-runtime-deadline-ms": Date.now() + next.timeout,
        "lambda-runtime-invoked-function-arn": "arn:aws:lambda:eu-west-1:1:function:charge",
      });
      response.end(JSON.stringify(next.event));
    }
    if (pollers.length > 0) wake();
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, task, id = "", what] =
      /^\/(?:2018-06-01\/runtime\/)?(invocation|step)\/([^/]+)\/?(.*)$/.exec(request.url ?? "") ?? [];
    if (id === "next") {
      timers.push(Number(request.headers["x-timers"]));
      pollers.push(response);
      return dispatch();
    }
    const invocation = invocations.get(id);
    if (task === "step") return invocation?.asked(response);
    const body: unknown = JSON.parse((await text(request)) || "null");
    if (what === "response") invocation?.settle({ result: body });
    if (what === "error") invocation?.settle({ error: body as Failure });
    response.writeHead(202).end();
  }

  const server = createServer((request, response) => void handle(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    timers,
    invoke(event, timeout = 60_000) {
      const id = `request-${invocations.size + 1}`;
      const inside = new Inside(id);
      invocations.set(id, inside);
      queue.push({ id, event, timeout });
      dispatch();
      return inside;
    },
    async idle(times = 1) {
      while (pollers.length < times) await new Promise<void>((resolve) => (wake = resolve));
    },
    shutDown() {
      ended = true;
      dispatch();
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

class Inside implements Invocation {
  readonly id: string;
  readonly outcome: Promise<Outcome>;
  readonly settle: (outcome: Outcome) => void;
  steps = 0;
  #waiting: ServerResponse | undefined;
  #wake = () => {};

  constructor(id: string) {
    this.id = id;
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.outcome = promise;
    this.settle = resolve;
  }

  asked(response: ServerResponse): void {
    this.steps++;
    this.#waiting = response;
    this.#wake();
  }

  async asks(): Promise<void> {
    while (!this.#waiting) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  go(): void {
    this.#waiting?.writeHead(204).end();
    this.#waiting = undefined;
  }
}
