// A web lock's name may be any text. A key of ours may not.
import { readKey } from "../options/targets.ts";

/**
 * The key of a lock's name: the name itself, so that `locker.acquire` means the same lock. A name that cannot be a key
 * is written behind a "-", which no web lock's name begins with, and each of its UTF-16 units but letters, digits,
 * ".", "_", "~" and "-" as "%" and four hex digits.
 * @throws LockOptionError for a name that is too long
 */
export function keyOf(name: string): string {
  try {
    return readKey(name);
  } catch {
    return readKey(`-${name.replace(/[^\w.~-]/g, escaped)}`);
  }
}

/** The name of a key's web lock. Undefined for a key that is no web lock's. */
export function nameOf(key: string): string | undefined {
  if (!key.startsWith("-")) return key;
  const name = key
    .slice(1)
    .replace(/%([0-9a-f]{4})/g, (_, unit) => String.fromCharCode(Number.parseInt(unit, 16)));
  return !name.startsWith("-") && keyOf(name) === key ? name : undefined;
}

function escaped(unit: string): string {
  return `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
