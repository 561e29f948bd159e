/** Numbers that a seed alone decides (mulberry32), so that a history can be run again. */
export class Random {
  #state: number;
  #ids = 0;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** From 0 up to 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability;
  }

  /** A whole number from `least` up to, but not, `most`. */
  between(least: number, most: number): number {
    return Math.floor(least + this.next() * (most - least));
  }

  token(): string {
    return String(++this.#ids)
      .padStart(12, "0")
      .padEnd(32, "0");
  }
}
