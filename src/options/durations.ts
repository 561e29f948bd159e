// Durations and leases, in milliseconds.

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration in whole milliseconds, rounded up; NaN for what is none. */
export function milliseconds(duration: unknown): number {
  const text = typeof duration === "string" ? duration : "";
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?) ?([a-z]+)$/.exec(text) ?? [];
  return Math.ceil(typeof duration === "number" ? duration : Number(amount) * (units[unit] as number));
}

/** How long a holder relies on a lease of `ttl` ms: less 1 % + 2 ms, for clocks that run at different speeds. */
export function validity(ttl: number): number {
  return ttl * 0.99 - 2;
}

/** The shortest lease whose validity covers `ms`. */
export function leaseFor(ms: number): number {
  return Math.ceil((ms + 2) / 0.99);
}
