/**
 * A reply as ioredis hands it over: strings as Buffers, so that binary ones survive; integers as their digits, so that
 * large ones do; an Error inside an array.
 */
export type RedisValue = null | string | Buffer | Error | RedisValue[];

/** One command's answer. */
export type Reply = { result: RedisValue } | { error: string };

/**
 * A reply in JSON, as Upstash writes it. With `base64` every string is encoded, nested ones too, except a top-level
 * `"OK"`, and errors never; otherwise bytes that are no UTF-8 become U+FFFD. Integers have all their digits, which
 * JSON.stringify could not give them.
 */
export function toJson(reply: Reply, base64: boolean): string {
  if ("error" in reply) return JSON.stringify(reply);
  const { result } = reply;
  const value = Buffer.isBuffer(result) && result.equals(OK) ? '"OK"' : valueToJson(result, base64);
  return `{"result":${value}}`;
}

const OK = Buffer.from("OK");

function valueToJson(value: RedisValue, base64: boolean): string {
  if (Buffer.isBuffer(value)) return JSON.stringify(value.toString(base64 ? "base64" : "utf8"));
  if (Array.isArray(value)) return `[${value.map((item) => valueToJson(item, base64)).join(",")}]`;
  if (typeof value === "string") return value;
  return JSON.stringify(value instanceof Error ? value.message : value);
}
