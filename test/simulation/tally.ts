/** How often each thing happened: a run in which nothing happened would prove nothing. */
export class Tally {
  readonly counts: Record<string, number> = {};

  count(what: string, times = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + times;
  }

  add(counts: Record<string, number>): void {
    for (const [what, times] of Object.entries(counts)) this.count(what, times);
  }
}
