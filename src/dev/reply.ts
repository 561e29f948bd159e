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

/**
 * A reply in RESP2. The client here does not tell a status from a string, nor a missing array from a missing string:
 * OK and PONG are written as statuses, every nil as a missing string.
 */
export function toResp2(reply: Reply): Buffer {
  return Buffer.concat("error" in reply ? [line("-", reply.error)] : valueToResp2(reply.result));
}

const STATUSES = ["OK", "PONG"];
const line = (mark: string, text: string) => Buffer.from(`${mark}${text.replace(/[\r\n]+/g, " ")}\r\n`);

function valueToResp2(value: RedisValue): Buffer[] {
  if (Array.isArray(value)) return [line("*", `${value.length}`), ...value.flatMap(valueToResp2)];
  if (value instanceof Error) return [line("-", value.message)];
  if (value === null) return [line("$", "-1")];
  if (typeof value === "string") return [line(":", value)];
  if (STATUSES.includes(value.toString())) return [line("+", value.toString())];
  return [line("$", `${value.length}`), value, Buffer.from("\r\n")];
}
