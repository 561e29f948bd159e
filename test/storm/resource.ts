import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import type { DirectorLine } from "./log.ts";
import { now } from "./log.ts";

// What the locks are there for: something that many write to and that must not be written to by two at a time. It is
// reached over a socket of its own, and records every write in the order they came. Where writes carry fencing tokens,
// it refuses one lower than it has seen before.

type Write = Pick<Extract<DirectorLine, { what: "write" }>, "key" | "id" | "fence" | "checked">;

export async function openResource(path: string, record: (line: DirectorLine) => void) {
  const highest = new Map<string, number>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    const lines = createInterface({ input: socket });
    // A client that was killed; the lines' reader passes its socket's errors on.
    for (const source of [socket, lines]) source.on("error", () => {});
    lines.on("line", (text) => {
      const write = JSON.parse(text) as Write;
      const { key, fence = 0 } = write;
      const accepted = fence >= (highest.get(key) ?? 0);
      if (accepted) highest.set(key, fence);
      record({ what: "write", at: now(), ...write, accepted });
      socket.write(`${accepted ? "accepted" : "stale"}\n`);
    });
  });
  server.listen(path);
  await once(server, "listening");
  return {
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** The way there, from a client. Answers come in the order of the writes. */
export async function reachResource(path: string) {
  const socket = connect(path);
  await once(socket, "connect");
  const waiting: ((accepted: boolean) => void)[] = [];
  createInterface({ input: socket }).on("line", (text) => waiting.shift()?.(text === "accepted"));
  return {
    /** Whether it was accepted. */
    write: (write: Write): Promise<boolean> => {
      socket.write(`${JSON.stringify(write)}\n`);
      return new Promise((resolve) => waiting.push(resolve));
    },
    close: () => void socket.end(),
  };
}
