import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createActivity } from "./activity.ts";
import { openEngine } from "./engine.ts";
import { createDice } from "./fault-dice.ts";
import { type FaultKind, type Faults, readFaults } from "./faults.ts";
import { createGate } from "./gate.ts";
import { createApi } from "./http.ts";
import { answerMalformed } from "./malformed.ts";
import { createCounter, type Meter } from "./meter.ts";
import { createNetwork } from "./network.ts";
import { loadOptionalPackages } from "./optional-packages.ts";
import { type DevServerOptions, settingsOf } from "./options.ts";
import { createSubscriptions } from "./subscriptions.ts";
import { createUsers } from "./users.ts";

export interface DevServer {
  /** What goes into `UPSTASH_REDIS_REST_URL`. */
  url: string;
  /** What goes into `UPSTASH_REDIS_REST_TOKEN`. */
  token: string;
  /** A second token, which may read and nothing else. Upstash has one of each database too. */
  readOnlyToken: string;
  /**
   * The Redis behind it, for a client that looks at the data directly, such as ioredis: the URL that was given, or a
   * `unix:///…` of the embedded engine, which only this user's processes can reach.
   */
  redisUrl: string;
  /** What was used so far, as Upstash bills it. */
  meter(): Meter;
  resetMeter(): void;
  /**
   * From now on, these faults in place of those set before; `{}` switches them off.
   *
   * @throws {LockOptionError} naming the fault, what came and what fits; then nothing has changed.
   */
  setFaults(faults: Faults): void;
  /** How often each fault befell a request since the server started. */
  fired(): Record<FaultKind, number>;
  /** Ends the streams, the connections and the embedded engine: nothing of it keeps the process alive. */
  close(): Promise<void>;
}

/**
 * Starts a local server that speaks Upstash's REST API.
 *
 * @throws {LockOptionError} when an option is wrong; an Error when a package is missing, the port is taken, or the
 * Redis cannot be reached.
 * @example
 * const server = await startDevServer();
 * const redis = new Redis({ url: server.url, token: server.token });
 */
export async function startDevServer(options?: DevServerOptions): Promise<DevServer> {
  const settings = settingsOf(options);
  const packages = await loadOptionalPackages(settings.redis === undefined);
  const users = createUsers(settings);
  const { redis, file, extensions } = settings;
  const engine = await openEngine(packages, { redis, file, extensions, answers: users.restToken });
  const activity = createActivity();
  const subscriptions = createSubscriptions(engine.connectAnother);
  const counter = createCounter();
  const network = createNetwork(settings);
  const dice = createDice(settings.faults ?? readFaults({}));
  const api = createApi({ engine, subscriptions, network, counter, activity });
  const gate = createGate({ users, network, dice, counter, api });
  // A request without a host is the gate's to answer, as every other.
  const http = createServer(
    { requireHostHeader: false },
    (request, response) => void gate(request, response),
  );
  answerMalformed(http);

  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= (async () => {
      subscriptions.close();
      activity.close();
      await new Promise<void>((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      });
      await engine.close();
    })();
    return closing;
  };

  try {
    const port = await listen(http, settings.port, settings.host);
    return {
      url: `http://${reachable(settings.host)}:${port}`,
      token: settings.token,
      readOnlyToken: settings.readOnlyToken,
      redisUrl: engine.url,
      meter: counter.read,
      resetMeter: counter.reset,
      setFaults: (faults) => dice.set(readFaults(faults)),
      fired: dice.fired,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function listen(http: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    http.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "the port is in use" : error.message;
      reject(new Error(`The dev server cannot listen on ${host}:${port}: ${why}`, { cause: error }));
    });
    http.listen(port, host, () => resolve((http.address() as AddressInfo).port));
  });
}

/** The host as a client on this machine names it. */
function reachable(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}
