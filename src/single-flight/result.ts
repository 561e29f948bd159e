// A result as a text: `<fingerprint>:<JSON in printable ASCII, or nothing for undefined>`.
import { LockOptionError, printable, show } from "../errors.ts";

/** @throws LockOptionError for a value that others would not get back as it is */
export function encodeResult(value: unknown, fingerprint: string): string {
  refuseOthers("result", value, "the result", []);
  const json = value === undefined ? "" : JSON.stringify(value);
  // A stream of messages may be cut anywhere, also within a character of several bytes.
  const ascii = json.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return `${fingerprint}:${ascii}`;
}

export function decodeResult(text: string): { value: unknown; fingerprint: string } {
  const end = text.indexOf(":");
  const json = text.slice(end + 1);
  return { value: json ? JSON.parse(json) : undefined, fingerprint: text.slice(0, end) };
}

/** Refuses what JSON cannot say. A property that is undefined is as good as none. */
function refuseOthers(option: string, value: unknown, where: string, above: readonly unknown[]): void {
  if (value === null || ["string", "boolean"].includes(typeof value) || Number.isFinite(value)) return;
  if (value === undefined && !Array.isArray(above.at(-1))) return;
  const isList = Array.isArray(value);
  const proto = Object(value) === value && Object.getPrototypeOf(value);
  // Another realm's too: Jest runs tests in one of their own, and `fetch` in another.
  const isPlain = proto === null || (proto && Object.getPrototypeOf(proto) === null);
  if (
    !(isList || isPlain) ||
    above.includes(value) ||
    typeof (value as { toJSON?: unknown }).toJSON === "function"
  ) {
    const given = above.includes(value) ? "a cycle" : nameOf(value);
    throw new LockOptionError(option, `${given} at ${printable(where).slice(0, 100)}`, "what JSON can say");
  }
  const within = [...above, value];
  if (isList) for (let i = 0; i < value.length; i++) refuseOthers(option, value[i], `${where}[${i}]`, within);
  else
    for (const [name, each] of Object.entries(value as object))
      refuseOthers(option, each, `${where}.${name}`, within);
}

function nameOf(value: unknown): string {
  if (["bigint", "function"].includes(typeof value)) return `a ${typeof value}`;
  if (Object(value) !== value) return show(value);
  return `an instance of ${(value as object).constructor?.name}`;
}

/** SHA-256 of a value, in hex: of bytes as they are, of all else of its JSON with the names in order. */
export async function fingerprintOf(value: unknown): Promise<string> {
  const bytes = value instanceof Uint8Array ? value : new TextEncoder().encode(canonical(value));
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function canonical(value: unknown): string {
  refuseOthers("fingerprint", value, "the fingerprint", []);
  return JSON.stringify(value, (_, each) => {
    if (Object(each) !== each || Array.isArray(each)) return each;
    return Object.fromEntries(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}
