import { randomBytes } from "node:crypto";
import { LockOptionError, show } from "../errors.ts";
import { milliseconds } from "../options/durations.ts";
import { checkNames } from "../options/rules.ts";
import { type FaultSettings, type Faults, readFaults } from "./faults.ts";

export interface DevServerOptions {
  /** The port to listen on; 0 picks a free one. Default: 0. */
  port?: number | undefined;
  /** The address to listen on. Default: `"127.0.0.1"`, reachable from this machine only. */
  host?: string | undefined;
  /** The token a request must carry. Default: a random one. */
  token?: string | undefined;
  /** A second token, which may read and nothing else. Default: a random one. */
  readOnlyToken?: string | undefined;
  /**
   * URL of the Redis to serve, `redis://…`, `rediss://…` or `unix:///path`. Default: an embedded engine, empty at each
   * start. Such a Redis is watched with MONITOR, which is how the commands inside scripts are counted; over `unix:`
   * those of other clients' scripts are counted too, for MONITOR gives all clients there the same address.
   */
  redis?: string | undefined;
  /**
   * Whether to make up for what Upstash has and the engine lacks (`DELEX`, `DIGEST`, `SET … IFEQ|IFNE|IFDEQ|IFDNE`, the
   * script flag `allow-key-locking`), and to answer as Upstash where it answers otherwise than Redis. False hands on
   * the engine's own answers, to test against an older server. Default: true.
   */
  extensions?: boolean | undefined;
  /**
   * A file that keeps the embedded engine's data from one start to the next. It is made when it is not there, and
   * written half a second after a change and at the end. Default: none, empty at each start.
   */
  file?: string | undefined;
  /** The simulated round trip, in milliseconds or as `"20ms"`, half of it on the way there. Default: 0. */
  latency?: number | string | undefined;
  /** Added to each round trip at random, between nothing and this, in milliseconds or as `"5ms"`. Default: 0. */
  jitter?: number | string | undefined;
  /** What goes wrong, how often; `setFaults` changes it later. Default: nothing. */
  faults?: Faults | undefined;
}

/** The options with their defaults, checked. */
export interface Settings {
  port: number;
  host: string;
  token: string;
  readOnlyToken: string;
  redis: string | undefined;
  file: string | undefined;
  extensions: boolean;
  /** Milliseconds. */
  latency: number;
  /** Milliseconds. */
  jitter: number;
  faults: FaultSettings | undefined;
}

const NAMES = [
  ...["port", "host", "token", "readOnlyToken", "redis", "file", "extensions", "latency", "jitter", "faults"],
];

/** @throws {LockOptionError} naming the option, what came and what fits. */
export function settingsOf(options: DevServerOptions = {}): Settings {
  checkNames(options, NAMES);
  return {
    port: port(options.port ?? 0),
    host: host(options.host ?? "127.0.0.1"),
    token: token("token", options.token ?? randomToken()),
    readOnlyToken: readOnlyToken(options),
    redis: options.redis === undefined ? undefined : redisUrl(options.redis),
    file: options.file === undefined ? undefined : file(options),
    extensions: extensions(options.extensions ?? true),
    latency: roundTrip("latency", options.latency ?? 0),
    jitter: roundTrip("jitter", options.jitter ?? 0),
    faults: options.faults === undefined ? undefined : readFaults(options.faults),
  };
}

function port(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 65535) return value;
  throw new LockOptionError("port", show(value), "an integer from 0 (a free port) to 65535");
}

function host(value: unknown): string {
  if (typeof value === "string" && /^[^\s/]+$/.test(value)) return value;
  throw new LockOptionError("host", show(value), 'an address or name to listen on, such as "127.0.0.1"');
}

const randomToken = () => randomBytes(24).toString("base64url");

function readOnlyToken(options: DevServerOptions): string {
  const value = token("readOnlyToken", options.readOnlyToken ?? randomToken());
  if (value !== options.token) return value;
  throw new LockOptionError("readOnlyToken", "the same as token", "another one: that one may write");
}

function file(options: DevServerOptions): string {
  const { file: value, redis } = options;
  if (redis !== undefined)
    throw new LockOptionError("file", "beside redis", "alone: a Redis of your own keeps its data itself");
  if (typeof value === "string" && value !== "" && !value.includes("\0")) return value;
  throw new LockOptionError("file", show(value), "a file's path");
}

function token(name: string, value: unknown): string {
  // What a header can carry; the value itself stays out of the message.
  if (typeof value === "string" && /^[\x21-\x7e]+$/.test(value)) return value;
  throw new LockOptionError(
    name,
    typeof value === "string" ? "an unsuitable string" : show(value),
    "printable ASCII without spaces",
  );
}

function redisUrl(value: unknown): string {
  const protocol = typeof value === "string" && URL.canParse(value) ? new URL(value).protocol : "";
  if (typeof value === "string" && ["redis:", "rediss:", "unix:"].includes(protocol)) return value;
  // Whatever is not a plain word might hold a password.
  const safe = typeof value === "string" && value.includes("@") ? "another URL" : show(value);
  throw new LockOptionError("redis", safe, "a URL such as redis://127.0.0.1:6379");
}

function extensions(value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new LockOptionError("extensions", show(value), "true or false");
}

function roundTrip(name: string, value: unknown): number {
  // A minute is more than any network takes: beyond it, a unit was mistaken.
  const ms = milliseconds(value);
  if (ms !== undefined && ms >= 0 && ms <= 60_000) return ms;
  throw new LockOptionError(name, show(value), 'milliseconds from 0 to 60000, as a number or as "20ms"');
}
