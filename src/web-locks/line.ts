/** The requests of one manager, in the order in which they were made. */
export interface Line {
  /**
   * Asks for a lock once the earlier requests that it competes with are placed: each has its lock, waits in the queue at
   * Redis, or has failed. Hands the lock over once all earlier requests are placed.
   * @param ask is told how to say that it waits in the queue
   */
  stand<T>(key: string, shared: boolean, ask: (placed: () => void) => Promise<T>): Promise<T>;
  /** Resolves once every request up to now is placed. */
  placed(): Promise<unknown>;
}

/** Two HTTP requests may overtake each other. Without a line, the second of two requests might get the lock first. */
export function createLine(): Line {
  let last: Promise<unknown> = Promise.resolve();
  /** Of each name the requests that are not placed yet: all of them, and those that a reader competes with. */
  const names = new Map<string, { all: Promise<unknown>; exclusive: Promise<unknown> }>();

  return {
    async stand(key, shared, ask) {
      const earlier = last;
      const before = names.get(key) ?? { all: Promise.resolve(), exclusive: Promise.resolve() };
      let tell = () => {};
      const placed = new Promise<void>((resolve) => {
        tell = resolve;
      });
      const all = Promise.all([before.all, placed]);
      const own = { all, exclusive: shared ? before.exclusive : all };
      names.set(key, own);
      last = Promise.all([earlier, placed]).then(() => {
        if (names.get(key) === own) names.delete(key);
      });
      try {
        await (shared ? before.exclusive : before.all);
        return await ask(tell);
      } finally {
        tell();
        await earlier;
      }
    },
    placed: () => last,
  };
}
