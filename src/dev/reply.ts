/** A reply as ioredis hands it over: strings as Buffers, so that binary ones survive; an Error inside an array. */
export type RedisValue = null | number | Buffer | Error | RedisValue[];

/** One command's answer. */
export type Reply = { result: RedisValue } | { error: string };

/**
 * A reply as Upstash writes it in JSON. With `base64` every string is encoded, nested ones too, except a top-level
 * `"OK"`, and errors never; otherwise bytes that are no UTF-8 become U+FFFD.
 */
export function toJson(reply: Reply, base64: boolean): { result: unknown } | { error: string } {
  if ("error" in reply) return reply;
  const { result } = reply;
  return {
    result: Buffer.isBuffer(result) && result.equals(OK) ? "OK" : valueToJson(result, base64),
  };
}

const OK = Buffer.from("OK");

function valueToJson(value: RedisValue, base64: boolean): unknown {
  if (Buffer.isBuffer(value)) return value.toString(base64 ? "base64" : "utf8");
  if (Array.isArray(value)) return value.map((item) => valueToJson(item, base64));
  return value instanceof Error ? value.message : value;
}
