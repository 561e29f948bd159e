import { Redis } from "@upstash/redis";
import { Redis as CloudflareRedis } from "@upstash/redis/cloudflare";
import { Redis as RawRedis } from "ioredis";
import { type DevServer, startDevServer } from "../../src/dev/index.ts";
import { createLocker, type Locker, type LockerOptions } from "../../src/index.ts";
import { newerEngines } from "./newer-engines.ts";
import { hasRedisServer, startRedis } from "./redis-server.ts";
import { remoteBackend, remoteServer } from "./remote-backend.ts";

export interface Backend {
  server: DevServer;
  /** Straight to the engine, past everything that is tested. */
  raw: RawRedis;
  /** The server cannot stream: who waits polls. */
  polls?: boolean;
  close(): Promise<void>;
}

/** The engines every contract is held to. An engine this machine lacks is listed, and its suite skipped by name. */
const ownEngines = [
  { engine: "the embedded engine", missing: false, start: () => startBackend({}) },
  {
    engine: "the embedded engine without DELEX",
    missing: false,
    start: () => startBackend({ extensions: false }),
  },
  { engine: "a real Redis", missing: !hasRedisServer, start: () => startRealBackend() },
  ...newerEngines.map(({ name, command }) => ({
    engine: name,
    missing: false,
    start: () => startRealBackend(command),
  })),
];

/** Those above; or else the one server that `npm run contract` was given. */
export const engines: typeof ownEngines = remoteServer
  ? [
      {
        engine: remoteServer.url,
        missing: false,
        start: async () => remoteBackend(remoteServer as NonNullable<typeof remoteServer>),
      },
    ]
  : ownEngines;

async function startRealBackend(command?: string): Promise<Backend> {
  const redis = await startRedis(command === undefined ? {} : { command });
  const backend = await startBackend({ redis: redis.url });
  return {
    ...backend,
    close: async () => {
      await backend.close();
      await redis.close();
    },
  };
}

async function startBackend(options: { redis?: string; extensions?: boolean }): Promise<Backend> {
  const server = await startDevServer(options);
  const raw = new RawRedis(server.redisUrl);
  return {
    server,
    raw,
    async close() {
      raw.disconnect();
      await server.close();
    },
  };
}

/** The clients every contract is held to. */
export const clients: { client: string; connect(at: { url: string; token: string }): LockerOptions }[] = [
  { client: "the built-in REST client", connect: ({ url, token }) => ({ url, token }) },
  { client: "@upstash/redis", connect: ({ url, token }) => ({ redis: new Redis({ url, token }) }) },
  {
    client: "@upstash/redis/cloudflare",
    connect: ({ url, token }) => ({ redis: new CloudflareRedis({ url, token }) }),
  },
];

/** Every client on every engine. */
export const backends = engines.flatMap((engine) => clients.map((client) => ({ ...engine, ...client })));

let names = 0;
const run = Math.random().toString(36).slice(2, 8);

/** A key no other test uses, nor an earlier run on a server that keeps its data. */
export function freshKey(): string {
  return `key-${process.pid}-${run}-${++names}`;
}

export function lockerAt(at: { url: string; token: string }, options: LockerOptions = {}): Locker {
  return createLocker({ url: at.url, token: at.token, ...options });
}
