/** Strings and sorted sets that expire, by a clock that is set from outside. */
export class Keyspace {
  now = 0;
  readonly #strings = new Map<string, string>();
  readonly #sets = new Map<string, Map<string, number>>();
  readonly #expiries = new Map<string, number>();

  clear(): void {
    for (const all of [this.#strings, this.#sets, this.#expiries]) all.clear();
  }

  /** Ms until it expires: -1 for never, -2 where it is not. */
  left(key: string): number {
    this.#expire(key);
    if (!this.#strings.has(key) && !this.#sets.has(key)) return -2;
    const expiry = this.#expiries.get(key);
    return expiry === undefined ? -1 : expiry - this.now;
  }

  expire(key: string, ms: number): void {
    if (this.left(key) !== -2) this.#expiries.set(key, this.now + ms);
  }

  keys(): string[] {
    return [...this.#strings.keys(), ...this.#sets.keys()].filter((key) => this.left(key) !== -2);
  }

  delete(key: string): number {
    const there = this.left(key) !== -2;
    this.#expiries.delete(key);
    this.#strings.delete(key);
    this.#sets.delete(key);
    return there ? 1 : 0;
  }

  get(key: string): string | undefined {
    this.#expire(key);
    return this.#strings.get(key);
  }

  set(key: string, value: string, ms?: number): void {
    this.#strings.set(key, value);
    if (ms !== undefined) this.#expiries.set(key, this.now + ms);
  }

  score(key: string, member: string): number | undefined {
    this.#expire(key);
    return this.#sets.get(key)?.get(member);
  }

  add(key: string, score: number, member: string): void {
    this.#expire(key);
    const members = this.#sets.get(key) ?? new Map();
    this.#sets.set(key, members.set(member, score));
  }

  remove(key: string, member: string): void {
    this.#expire(key);
    const members = this.#sets.get(key);
    if (members?.delete(member) && members.size === 0) this.delete(key);
  }

  /** By score, and by name where that is the same. */
  range(key: string): [member: string, score: number][] {
    this.#expire(key);
    const members = [...(this.#sets.get(key) ?? [])];
    return members.sort(([a, one], [b, other]) => one - other || (a < b ? -1 : 1));
  }

  #expire(key: string): void {
    if ((this.#expiries.get(key) ?? Number.POSITIVE_INFINITY) > this.now) return;
    this.#expiries.delete(key);
    this.#strings.delete(key);
    this.#sets.delete(key);
  }
}
