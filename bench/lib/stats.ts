/** The value below which the share `q` of all lies, between two neighbours in proportion. */
export function quantile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort();
  const position = (sorted.length - 1) * q;
  const below = Math.floor(position);
  const low = sorted[below] ?? Number.NaN;
  const high = sorted[below + 1] ?? low;
  return low + (high - low) * (position - below);
}

export function median(values: ArrayLike<number>): number {
  return quantile(values, 0.5);
}

export interface Estimate {
  value: number;
  /** The 95 % confidence interval. */
  low: number;
  high: number;
}

/**
 * A figure of two samples that were measured in pairs, such as the ratio of their medians, with an interval by
 * bootstrap. A pair is one round: drawn together, what made a whole round slow counts on both sides.
 */
function paired(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  figure: (a: ArrayLike<number>, b: ArrayLike<number>) => number,
  draws = 1_000,
): Estimate {
  const size = a.length;
  const drawnA = new Float64Array(size);
  const drawnB = new Float64Array(size);
  const figures = Array.from({ length: draws }, () => {
    for (let i = 0; i < size; i++) {
      const pick = Math.floor(Math.random() * size);
      drawnA[i] = a[pick] as number;
      drawnB[i] = b[pick] as number;
    }
    return figure(drawnA, drawnB);
  });
  return { value: figure(a, b), low: quantile(figures, 0.025), high: quantile(figures, 0.975) };
}

export function ratioOfMedians(a: ArrayLike<number>, b: ArrayLike<number>): Estimate {
  return paired(a, b, (x, y) => median(x) / median(y));
}

/** The median of each pair's own ratio. */
export function medianOfRatios(a: ArrayLike<number>, b: ArrayLike<number>): Estimate {
  return paired(a, b, (x, y) => median(Array.from(x, (value, i) => value / (y[i] as number))));
}

export function differenceOfMedians(a: ArrayLike<number>, b: ArrayLike<number>): Estimate {
  return paired(a, b, (x, y) => median(x) - median(y));
}

/** The same items in a random order. */
export function shuffled<T>(items: readonly T[], random = Math.random): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
