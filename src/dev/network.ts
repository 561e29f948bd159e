import type { Settings } from "./options.ts";

/** The simulated way between client and server. What goes wrong on it belongs here too. */
export interface Network {
  /** What one request goes through: resolves when it has arrived, and hands out the way back. */
  arrive(): Promise<{ goBack(): Promise<void> }>;
  /** Milliseconds that a message on an open stream takes. */
  oneWay(): number;
}

export function createNetwork({ latency, jitter }: Pick<Settings, "latency" | "jitter">): Network {
  const roundTrip = () => latency + Math.random() * jitter;
  return {
    async arrive() {
      const total = roundTrip();
      // Timers have whole milliseconds and are rounded down: so one half is rounded up.
      const there = Math.ceil(total / 2);
      await pass(there);
      return { goBack: () => pass(Math.round(total) - there) };
    },
    oneWay: () => Math.round(roundTrip() / 2),
  };
}

async function pass(ms: number): Promise<void> {
  if (ms <= 0) return;
  // Unreferenced: a request under way is no reason to keep a process that closed its server.
  await new Promise<void>((resolve) => setTimeout(resolve, ms).unref());
}
