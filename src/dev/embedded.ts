import { createServer, type Socket } from "node:net";
import type { Peers } from "./peers.ts";

/** The embedded engine, a Redis in this process that any client can talk to over TCP. */
export interface Embedded {
  url: string;
  /** What the engine calls its own MONITOR. */
  monitorFeed: InstanceType<NonNullable<Peers["RedisServerState"]>>["monitorFeed"];
  close(): Promise<void>;
}

/**
 * Starts the engine on a free port. Put together from its parts, because its own server listens on every network
 * interface, with no password, and waits at its end for each client to leave.
 */
export async function startEmbedded(peers: Peers): Promise<Embedded> {
  const {
    RedisServerState,
    createRedisCommandExecutor,
    attachSession,
    SocketConnectionTransport,
    RedisResult,
  } = peers;
  if (
    !RedisServerState ||
    !createRedisCommandExecutor ||
    !attachSession ||
    !SocketConnectionTransport ||
    !RedisResult
  ) {
    throw new Error("The embedded engine was not loaded");
  }
  const state = new RedisServerState({ databaseCount: 16 });
  const executor = createRedisCommandExecutor();
  const { executeRaw } = executor;
  // What the engine itself trips over (`INFO constructor`) would end the connection, and with it everybody's commands.
  executor.executeRaw = (...command) =>
    executeRaw
      .apply(executor, command)
      .catch(() => RedisResult.error("internal error of the embedded engine", "ERR"));
  const sockets = new Set<Socket>();
  // Without noDelay, small replies wait some 40 ms for the client to acknowledge the one before.
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    const clientAddress = `${socket.remoteAddress}:${socket.remotePort}`;
    attachSession(new SocketConnectionTransport(socket), { state, executor, clientAddress });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return {
    url: `redis://127.0.0.1:${port}`,
    monitorFeed: state.monitorFeed,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      state.close();
    },
  };
}
