/** The requests of one manager, in the order in which they were made. */
export interface Line {
  /**
   * Asks for a lock once the earlier requests that it competes with are placed: each has its lock, waits in the queue at
   * Redis, or has failed. Hands the lock over once all earlier requests are placed.
   * @param ask is told how to say that it waits in the queue
   */
  stand<T>(key: string, shared: boolean, ask: (placed: () => void) => Promise<T>): Promise<T>;
  /** Resolves once every request up to now is placed. */
  allPlaced(): Promise<unknown>;
  /** Resolves once the first request for a lock is placed, if there is one that is not. */
  nextPlaced(key: string): Promise<void> | undefined;
}

/** A request that is not placed yet. */
interface Standing {
  shared: boolean;
  placed: Promise<void>;
}

/** Two HTTP requests may overtake each other. Without a line, the second of two requests might get the lock first. */
export function createLine(): Line {
  const lines = new Map<string, Standing[]>();
  let last: Promise<unknown> = Promise.resolve();

  return {
    async stand(key, shared, ask) {
      const line = lines.get(key) ?? [];
      lines.set(key, line);
      const before = line.filter((other) => !(shared && other.shared)).map(({ placed }) => placed);
      const earlier = last;
      let tell = () => {};
      const standing: Standing = {
        shared,
        placed: new Promise((resolve) => {
          tell = () => {
            if (line.includes(standing)) line.splice(line.indexOf(standing), 1);
            if (line.length === 0 && lines.get(key) === line) lines.delete(key);
            resolve();
          };
        }),
      };
      line.push(standing);
      last = Promise.all([earlier, standing.placed]);
      try {
        await Promise.all(before);
        return await ask(tell);
      } finally {
        tell();
        await earlier;
      }
    },
    allPlaced: () => last,
    nextPlaced: (key) => lines.get(key)?.[0]?.placed,
  };
}
