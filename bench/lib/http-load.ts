import { connect, type Socket } from "node:net";

/** Where a server of Upstash's REST API is. */
export interface Endpoint {
  url: string;
  token: string;
}

/** Connections that are kept open, and ask one request after the other. */
export interface Load {
  /** Sends so many requests in all, each connection its share at a time of its own. @returns ms. */
  send(requests: number): Promise<number>;
  close(): void;
}

/**
 * Opens connections for one request that is sent again and again. They speak as little HTTP as will do: what a client
 * costs would hide what a server does.
 */
export async function openLoad(
  { url, token }: Endpoint,
  command: string[],
  connections: number,
): Promise<Load> {
  const { hostname, port, host } = new URL(url);
  const body = JSON.stringify(command);
  const request = Buffer.from(
    [
      "POST / HTTP/1.1",
      `Host: ${host}`,
      `Authorization: Bearer ${token}`,
      "Content-Type: application/json",
      `Content-Length: ${Buffer.byteLength(body)}`,
      `\r\n${body}`,
    ].join("\r\n"),
  );
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(Number(port), hostname)));
  return {
    async send(requests) {
      let left = requests;
      const start = performance.now();
      await Promise.all(
        sockets.map(async (socket) => {
          while (left-- > 0) await ask(socket, request);
        }),
      );
      return performance.now() - start;
    },
    close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function open(port: number, host: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host, noDelay: true }, () => resolve(socket));
    socket.setEncoding("latin1").once("error", reject);
  });
}

/** One request and its answer, which has to be a good one of a known length. */
function ask(socket: Socket, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    const ended = () => reject(new Error("The server closed the connection"));
    const settle = (settled: () => void) => {
      socket.off("data", hear).off("close", ended);
      settled();
    };
    const hear = (piece: string) => {
      text += piece;
      const end = text.indexOf("\r\n\r\n");
      if (end === -1) return;
      const length = /\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1];
      if (!text.startsWith("HTTP/1.1 200 ") || length === undefined) {
        settle(() => reject(new Error(`An unexpected answer:\n${text}`)));
      } else if (text.length >= end + 4 + Number(length)) settle(resolve);
    };
    socket.on("data", hear).once("close", ended);
    socket.write(request);
  });
}
