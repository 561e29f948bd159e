/** What Upstash would bill. */
export interface Meter {
  /** HTTP requests that carried the right token. */
  requests: number;
  /** Billed commands: each command of a pipeline or transaction, and each one that a script calls. */
  commands: number;
  /** The billed commands by name, in lower case. */
  byCommand: Record<string, number>;
}

export interface Counter {
  request(): void;
  command(name: string): void;
  read(): Meter;
  reset(): void;
}

export function createCounter(): Counter {
  let requests = 0;
  let commands = 0;
  const byCommand = new Map<string, number>();
  return {
    request() {
      requests++;
    },
    command(name) {
      const key = name.toLowerCase();
      commands++;
      byCommand.set(key, (byCommand.get(key) ?? 0) + 1);
    },
    read: () => ({ requests, commands, byCommand: Object.fromEntries(byCommand) }),
    reset() {
      requests = 0;
      commands = 0;
      byCommand.clear();
    },
  };
}
