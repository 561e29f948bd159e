import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** A Redis that is further away: all that goes there and comes back takes half of the round trip, in order. */
export async function startSlowTcp(redis: string, roundTrip: number) {
  const { hostname, port } = new URL(redis);
  const sockets = new Set<Socket>();
  let share = 0;
  let trips = 0;
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: hostname, port: Number(port || 6379), noDelay: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
      from.on("data", (chunk) => {
        if (from === near) trips++;
        else if (Math.random() < share) return void near.destroy();
        if (roundTrip === 0) to.write(chunk);
        else sleep(roundTrip / 2).then(() => to.write(chunk));
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    /** From now on a reply is lost so often, with its connection. */
    lose(often: number) {
      share = often;
    },
    /** How many times something was sent there: those sent at once count as one. */
    trips: () => trips,
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
