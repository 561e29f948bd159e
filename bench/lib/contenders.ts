import { Lock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { createLocker } from "serverless-lock";

/** One way to take a free lock and let it go. */
export interface Contender {
  name: string;
  /** Whether it is this library. */
  ours: boolean;
  /** Takes the lock and releases it; throws when either did not work. */
  takeAndRelease(key: string): Promise<void>;
}

export interface Credentials {
  url: string;
  token: string;
}

/** The lease everybody asks for, in ms. */
const ttl = 10_000;

/** All of them, each with a client of its own in its default settings; the bare fetches come first. */
export function contenders(credentials: Credentials): Contender[] {
  return [
    bareFetch(credentials),
    ours("serverless-lock", credentials),
    ours("serverless-lock, given an @upstash/redis", { redis: new Redis(credentials) }),
    bareUpstashRedis(new Redis(credentials)),
    upstashLock(new Redis(credentials)),
  ];
}

/** The floor: nothing but the two requests with the two commands that this library sends. */
function bareFetch({ url, token }: Credentials): Contender {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  async function send(...command: (string | number)[]): Promise<unknown> {
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(command) });
    return ((await response.json()) as { result: unknown }).result;
  }
  return {
    name: "two bare fetch calls",
    ours: false,
    async takeAndRelease(name) {
      const key = `lock:{${name}}`;
      const value = `s2:${crypto.randomUUID()}:${ttl}:${Date.now()}:`;
      expect(await send("SET", key, value, "NX", "GET", "PX", ttl), null);
      expect(await send("DELEX", key, "IFEQ", value), 1);
    },
  };
}

function ours(name: string, options: Parameters<typeof createLocker>[0]): Contender {
  const locker = createLocker({ ...options, ttl });
  return {
    name,
    ours: true,
    async takeAndRelease(key) {
      const lock = await locker.acquire(key);
      expect(await lock.release(), true);
    },
  };
}

const compareAndDelete = `if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end
return 0`;

function bareUpstashRedis(redis: Redis): Contender {
  return {
    name: "@upstash/redis set + eval",
    ours: false,
    async takeAndRelease(key) {
      const value = crypto.randomUUID();
      expect(await redis.set(key, value, { nx: true, px: ttl }), "OK");
      expect(await redis.eval(compareAndDelete, [key], [value]), 1);
    },
  };
}

function upstashLock(redis: Redis): Contender {
  return {
    name: "@upstash/lock",
    ours: false,
    async takeAndRelease(id) {
      // Its types name the CommonJS build of the same class.
      const lock = new Lock({ id, redis: redis as never, lease: ttl });
      expect(await lock.acquire(), true);
      expect(await lock.release(), true);
    },
  };
}

function expect(seen: unknown, wanted: unknown): void {
  if (seen !== wanted) throw new Error(`a reply was ${JSON.stringify(seen)}, not ${JSON.stringify(wanted)}`);
}
