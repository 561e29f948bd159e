import type { Redis } from "ioredis";

// What version 1 of the protocol did, in its own words: for fleets that are changed while they run.

const prelude = `local call,lock,queue,alive=redis.call,KEYS[1],KEYS[2],KEYS[3]
local me,held,time=ARGV[1]:sub(4),call('GET',lock)
local function now()
time=time or call('TIME')
return time[1]*1000+math.floor(time[2]/1000)
end
local function ours() return held and held:sub(4)==me end
local function drop(who)
call('ZREM',queue,who)
call('ZREM',alive,who)
end
local function pass()
local first=call('ZRANGE',queue,0,1,'WITHSCORES')
held=first[1]
if not held then return end
local left=(call('ZSCORE',alive,held) or 0)-now()
drop(held)
if left<=0 then return pass() end
local mark,channel=first[3] and '!' or ':','sl:'..held:sub(1,18)
redis.pcall('PUBLISH',channel,first[2]..mark)
held='sl'..mark..held
call('SET',lock,held,'PX',left)
end
`;

const joinScript = `${prelude}
local ttl=tonumber(ARGV[2])
local ticket=call('ZSCORE',queue,me)
if not ours() then
if not ticket then
ticket=string.format('%.0f',math.max(now(),(call('ZRANGE',queue,-1,-1,'WITHSCORES')[2] or 0)+1))
call('ZADD',queue,ticket,me)
end
call('ZADD',alive,'GT',now()+3750,me)
call('PEXPIRE',queue,20000)
call('PEXPIRE',alive,20000)
end
if not held then pass() end
if not held then
held='sl:'..me
call('SET',lock,held,'PX',ttl)
elseif ours() then
drop(me)
if call('PTTL',lock)<ttl then call('PEXPIRE',lock,ttl) end
end
if ours() then return 1 end
if held:match('^sl:[^:]+:%d+:') then call('SET',lock,'sl!'..held:sub(4),'KEEPTTL') end
return 0`;

const releaseScript = `${prelude}
if not ours() then return 0 end
pass()
if not held then call('DEL',lock) end
return 1`;

/** A client of version 1, which asks again and again where that waited for a message, too. */
export class Version1 {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #value: string;
  readonly #ttl: number;

  constructor(redis: Redis, key: string, token: string, ttl = 60_000) {
    this.#redis = redis;
    this.#key = `lock:{${key}}`;
    this.#value = `sl:${token}:${ttl}:of version 1`;
    this.#ttl = ttl;
  }

  async tryAcquire(): Promise<boolean> {
    return (await this.#redis.set(this.#key, this.#value, "PX", this.#ttl, "NX")) === "OK";
  }

  /** Stands in the queue of version 1, or takes the lock. True when it has it. */
  async join(): Promise<boolean> {
    return (await this.#redis.eval(joinScript, 3, ...this.#keys, this.#value, this.#ttl)) === 1;
  }

  async release(): Promise<boolean> {
    return (await this.#redis.eval(releaseScript, 3, ...this.#keys, this.#value)) === 1;
  }

  get #keys(): [string, string, string] {
    return [this.#key, `${this.#key}:queue`, `${this.#key}:alive`];
  }
}
