import type { Turn } from "./crowd.ts";
import { median } from "./stats.ts";

/** What one round showed: a holder and the crowd that waited behind it. */
export interface Round {
  /** From each holder's call for the release to the start of the next one's work, in ms. */
  handovers: number[];
  /** From the first release to the last, in ms. */
  total: number;
  /** Of each hand-over, how many ms earlier than the one served somebody had asked who still waits. */
  overtaken: number[];
  /** How long each waited, in the order of arrival: from its asking, and how much of that before the first release. */
  waits: { waited: number; before: number }[];
  requests: number;
  commands: number;
}

/** @param turns of the holder and the waiters, in the order of their starts */
export function readRound(turns: Turn[], cost: { requests: number; commands: number }): Round {
  const [holder, ...served] = turns as [Turn, ...Turn[]];
  const arrived = [...served].sort((a, b) => a.asked - b.asked);
  const waiting = new Set(arrived);
  const overtaken = served.map((turn) => {
    const [longest] = waiting;
    waiting.delete(turn);
    return turn.asked - (longest as Turn).asked;
  });
  return {
    handovers: served.map((turn, i) => turn.started - (turns[i] as Turn).ended),
    total: (turns.at(-1) as Turn).ended - holder.ended,
    overtaken,
    waits: arrived.map(({ asked, started }) => ({ waited: started - asked, before: holder.ended - asked })),
    ...cost,
  };
}

/**
 * Waits over what they would have been, had all been served in the order of arrival, each hand-over had taken the
 * round's median, and all work what it was meant to.
 */
export function fairness({ handovers, waits }: Round, work: number): { each: number[]; longest: number } {
  const handover = median(handovers);
  const fifo = waits.map(({ before }, i) => before + (i + 1) * handover + i * work);
  const waited = waits.map((wait) => wait.waited);
  return {
    each: waited.map((ms, i) => ms / (fifo[i] as number)),
    longest: Math.max(...waited) / Math.max(...fifo),
  };
}
