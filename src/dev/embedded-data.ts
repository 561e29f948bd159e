import { createHash } from "node:crypto";

// The data of the embedded engine as text, for DUMP, RESTORE and the file that it is kept in: JSON with a mark for what
// JSON cannot say. Node's own `deserialize` is not meant for what comes from outside.

export function encode(data: unknown): string {
  return JSON.stringify(data, function (this: Record<string, unknown>, key: string) {
    // A Buffer would come as what its toJSON makes of it.
    const value = this[key];
    if (Buffer.isBuffer(value)) return { $bytes: value.toString("base64") };
    if (value instanceof Map) return { $map: [...value] };
    if (typeof value === "bigint") return { $integer: `${value}` };
    if (typeof value === "number" && !Number.isFinite(value)) return { $number: `${value}` };
    return value;
  });
}

/** @throws {SyntaxError} when it is no JSON. */
export function decode(text: string): unknown {
  return JSON.parse(text, (_key, value) => {
    const [mark] = value && typeof value === "object" ? Object.keys(value) : [];
    if (mark === "$bytes") return Buffer.from(value.$bytes, "base64");
    if (mark === "$map") return new Map(value.$map);
    if (mark === "$integer") return BigInt(value.$integer);
    if (mark === "$number") return Number(value.$number);
    return value;
  });
}

const CHECKSUM_LENGTH = 16;

/** What DUMP answers: the data and its checksum. */
export function dump(data: unknown): Buffer {
  const text = Buffer.from(encode(data));
  return Buffer.concat([text, checksum(text)]);
}

/** Undefined where it is not what `dump` made. */
export function undump(payload: Buffer): unknown {
  const text = payload.subarray(0, -CHECKSUM_LENGTH);
  if (!checksum(text).equals(payload.subarray(-CHECKSUM_LENGTH))) return undefined;
  try {
    return decode(text.toString());
  } catch {
    return undefined;
  }
}

function checksum(text: Buffer): Buffer {
  return createHash("sha256").update(text).digest().subarray(0, CHECKSUM_LENGTH);
}
