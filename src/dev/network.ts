import type { Settings } from "./options.ts";

/** The simulated way between client and server. What goes wrong on it belongs here too. */
export interface Network {
  /** What one request goes through: resolves when it has arrived, and hands out the way back. */
  arrive(): Promise<{ goBack(): Promise<void> }>;
  /** Milliseconds that a message on an open stream takes: with the request that sent it, a round trip. */
  wayBack(): number;
}

export function createNetwork({ latency, jitter }: Pick<Settings, "latency" | "jitter">): Network {
  function roundTrip() {
    const total = latency + Math.random() * jitter;
    // Timers have whole milliseconds and are rounded down: so one half is rounded up.
    const there = Math.ceil(total / 2);
    return { there, back: Math.round(total) - there };
  }
  return {
    async arrive() {
      const { there, back } = roundTrip();
      await pass(there);
      return { goBack: () => pass(back) };
    },
    wayBack: () => roundTrip().back,
  };
}

async function pass(ms: number): Promise<void> {
  if (ms <= 0) return;
  // Unreferenced: a request under way is no reason to keep a process that closed its server.
  await new Promise<void>((resolve) => setTimeout(resolve, ms).unref());
}
