import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Relay {
  url: string;
  /** Ends all connections, as a load balancer does with those that were idle for long. */
  cut(): void;
  close(): Promise<void>;
}

/** Passes connections on to a server on loopback. */
export async function startRelay(target: string): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server = createServer((inward) => {
    const outward = connect(Number(new URL(target).port), "127.0.0.1");
    for (const socket of [inward, outward]) {
      sockets.add(socket);
      socket.once("close", () => {
        sockets.delete(socket);
        inward.destroy();
        outward.destroy();
      });
      // It is closed then, too.
      socket.on("error", () => {});
    }
    inward.pipe(outward).pipe(inward);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    async close() {
      server.close();
      cut();
      await once(server, "close");
    },
  };
}
