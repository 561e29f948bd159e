import { createServer, type Socket } from "node:net";
import { embeddedCommands } from "./embedded-commands.ts";
import { keepInFile } from "./embedded-file.ts";
import type { EmbeddedEngine, OptionalPackages } from "./optional-packages.ts";
import { createSocketPath } from "./socket-path.ts";
import { unsupportedNames } from "./unsupported-commands.ts";

/** The embedded engine, a Redis in this process. */
export interface Embedded {
  /** `unix:///…`, as ioredis takes it: a socket that only this user can reach. */
  url: string;
  /** What the engine calls its own MONITOR. */
  monitorFeed: InstanceType<EmbeddedEngine["RedisServerState"]>["monitorFeed"];
  close(): Promise<void>;
}

/**
 * Starts the engine on a Unix socket. A port would be a second way in: the engine knows no token, and takes the words of
 * an HTTP request for commands, so that a web page could write to it.
 * It is put together from its parts, because its own server listens on every network interface and waits at its end for
 * each client to leave.
 *
 * @param file where its data is kept. Without it, nowhere.
 */
export async function startEmbedded(packages: OptionalPackages, file: string | undefined): Promise<Embedded> {
  const { embeddedEngine } = packages;
  if (!embeddedEngine) throw new Error("The embedded engine was not loaded");
  const { RedisServerState, attachSession, SocketConnectionTransport } = embeddedEngine;
  const state = new RedisServerState({ databaseCount: 16 });
  const kept = file === undefined ? undefined : keepInFile(state, file);
  const executor = createExecutor(embeddedEngine);
  const sockets = new Set<Socket>();
  let connections = 0;
  // Without noDelay, small replies wait some 40 ms for the client to acknowledge the one before.
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // A Unix socket has no addresses, and MONITOR tells clients apart by theirs.
    const clientAddress = `unix:${++connections}`;
    attachSession(new SocketConnectionTransport(socket), { state, executor, clientAddress });
  });
  const socketPath = createSocketPath();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath.path, resolve);
  }).catch((error) => {
    socketPath.remove();
    throw error;
  });
  return {
    url: `unix://${socketPath.path}`,
    monitorFeed: state.monitorFeed,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      socketPath.remove();
      kept?.close();
      state.close();
    },
  };
}

function createExecutor(engine: EmbeddedEngine) {
  const { createRedisCommandExecutor, RedisResult } = engine;
  const executor = createRedisCommandExecutor();
  // The engine has no other way to put a command in the place of its own.
  const { registry } = executor as unknown as { registry: InstanceType<EmbeddedEngine["CommandRegistry"]> };
  for (const command of embeddedCommands(engine, (name) => registry.get(name))) registry.override(command);
  const { executeRaw, executePlanSync } = executor;
  // What the engine itself trips over (`INFO constructor`) would end the connection, and with it everybody's commands.
  executor.executeRaw = (...command) =>
    executeRaw
      .apply(executor, command)
      .catch(() => RedisResult.error("internal error of the embedded engine", "ERR"));
  // The engine runs a plan in this way for a script alone. RESET or SELECT there would act on everybody's connection.
  executor.executePlanSync = (plan, context) =>
    unsupportedNames.has(plan.definition.name.toUpperCase())
      ? RedisResult.error("This Redis command is not allowed from script", "ERR")
      : executePlanSync.call(executor, plan, context);
  return executor;
}
