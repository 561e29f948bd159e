import { Redis as IORedis } from "ioredis";
import { describe, expect, test } from "vitest";
import { engines } from "./engines.ts";
import { useDevServer } from "./suite.ts";

/** The commands that Upstash's reference lists, as of August 2026: https://upstash.com/docs/redis/commands/overview. */
const DOCUMENTED = new Set(
  [
    "ACL APPEND AUTH BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH",
    "BZMPOP BZPOPMAX BZPOPMIN CLIENT COMMAND CONFIG COPY DBSIZE DECR DECRBY DEL DELEX DIGEST DISCARD DUMP",
    "ECHO EVAL EVALSHA EVALSHA_RO EVAL_RO EXEC EXISTS EXPIRE EXPIREAT EXPIRETIME FCALL FCALL_RO FLUSHALL",
    "FLUSHDB FUNCTION GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO",
    "GEORADIUS_RO GEOSEARCH GEOSEARCHSTORE GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HELLO HEXISTS",
    "HEXPIRE HEXPIREAT HEXPIRETIME HGET HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET",
    "HMSET HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN",
    "HTTL HVALS INCR INCRBY INCRBYFLOAT INFO KEYS LINDEX LINSERT LLEN LMOVE LMPOP LPOP LPOS LPUSH LPUSHX",
    "LRANGE LREM LSET LTRIM MEMORY MGET MONITOR MSET MSETNX MULTI PERSIST PEXPIRE PEXPIREAT PEXPIRETIME",
    "PFADD PFCOUNT PFMERGE PING PSETEX PSUBSCRIBE PTTL PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY RENAME",
    "RENAMENX RESET RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD SCAN SCARD SCRIPT SDIFF SDIFFSTORE SELECT",
    "SET SETBIT SETEX SETNX SETRANGE SINTER SINTERCARD SINTERSTORE SISMEMBER SMEMBERS SMISMEMBER SMOVE",
    "SPOP SRANDMEMBER SREM SSCAN STRLEN SUBSCRIBE SUNION SUNIONSTORE TIME TOUCH TTL TYPE UNLINK",
    "UNSUBSCRIBE UNWATCH WAIT WAITAOF WATCH XACK XACKDEL XADD XAUTOCLAIM XCLAIM XDEL XDELEX XGROUP XINFO",
    "XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE XTRIM ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY",
    "ZINTER ZINTERCARD ZINTERSTORE ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX",
    "ZRANGEBYSCORE ZRANGESTORE ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE",
    "ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION ZUNIONSTORE",
  ].flatMap((line) => line.split(" ")),
);

const refused = {
  error: expect.stringMatching(/^ERR Command (is not available|"\w+" is not allowed in REST)/),
};

describe.each(engines)("what Upstash does not have, on $name", ({ available, open }) => {
  describe.skipIf(!available)("(needs the engine)", () => {
    const suite = useDevServer(open);
    const { run } = suite;

    test("is refused, though the engine has it", async () => {
      const redis = new IORedis(suite.server.redisUrl);
      const names = ((await redis.call("COMMAND")) as [string][]).map(([name]) => name.toUpperCase());
      redis.disconnect();
      const others = names.filter((name) => !DOCUMENTED.has(name));
      expect(others).toContain("SORT");
      for (const name of others) expect([name, await run([name])]).toEqual([name, refused]);
    });

    test.each([
      ["SORT", "l"],
      ["OBJECT", "ENCODING", "l"],
      ["PUBSUB", "SHARDCHANNELS"],
      ["pubsub", "shardnumsub", "c"],
      ["FUNCTION", "DUMP"],
      ["JSON.SET", "k", "$", "1"],
      ["SEARCH.QUERY", "index", "{}"],
    ])("is refused in Upstash's words: %s", async (...command) => {
      await run(["RPUSH", "l", "x"]);
      const { error } = (await run(command)) as { error: string };
      expect(error).toMatch(/^ERR Command is not available: '[A-Z. ]+'. See https:/);
    });

    test("is refused in scripts too", async () => {
      await run(["RPUSH", "l", "x"]);
      for (const script of ["return redis.call('SORT', KEYS[1])", "return redis.call(ARGV[1], KEYS[1])"]) {
        expect(await run(["EVAL", script, "1", "l", "SORT"])).toEqual({
          error: expect.stringMatching(/^ERR (This Redis|Unknown Redis) command/),
        });
      }
    });
  });
});
