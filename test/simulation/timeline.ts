import type { Random } from "./random.ts";

/** Who an event happens to: frozen it happens later, gone it never does. */
export interface Owner {
  readonly gone: boolean;
  readonly frozenUntil: number;
}

export interface Due {
  at: number;
  order: number;
  readonly run: () => unknown;
  readonly owner: Owner | undefined;
  cancelled: boolean;
}

/** A virtual clock in whole ms. Nothing happens but by events, one after the other. */
export class Timeline {
  now = 0;
  readonly #random: Random;
  /** The next one last. */
  readonly #due: Due[] = [];
  #order = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  schedule(ms: number, run: () => unknown, owner?: Owner): Due {
    const due = { at: this.now + Math.ceil(ms), order: this.#order++, run, owner, cancelled: false };
    this.#insert(due);
    return due;
  }

  /** Puts off what is still to come. */
  delay(due: Due, ms: number): void {
    const index = this.#due.indexOf(due);
    if (index < 0) return;
    this.#due.splice(index, 1);
    due.at += Math.ceil(ms);
    this.#insert(due);
  }

  /** Runs all events up to that time, `check` after each. True when none are left. */
  async run(until: number, check: () => void): Promise<boolean> {
    for (let due = this.#due.pop(); due; due = this.#due.pop()) {
      if (due.cancelled || due.owner?.gone) continue;
      if (due.at > until) {
        this.#insert(due);
        return false;
      }
      if (due.owner && due.owner.frozenUntil > due.at) {
        // What was due while it was frozen happens at once when it is thawed, in any order.
        due.at = due.owner.frozenUntil;
        due.order = this.#random.next() * this.#order;
        this.#insert(due);
        continue;
      }
      this.now = due.at;
      await due.run();
      // All that follows from it without waiting for another event.
      await new Promise(setImmediate);
      check();
    }
    this.now = until;
    return true;
  }

  #insert(due: Due): void {
    const all = this.#due;
    let low = 0;
    let high = all.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = all[middle] as Due;
      if (other.at > due.at || (other.at === due.at && other.order > due.order)) low = middle + 1;
      else high = middle;
    }
    all.splice(low, 0, due);
  }
}
