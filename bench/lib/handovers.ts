import type { Turn } from "./crowd.ts";
import { median } from "./stats.ts";

/** What one round showed: a holder and the crowd that waited behind it. */
export interface Round {
  /** From each holder's call for the release to the start of the next one's work, in ms. */
  handovers: number[];
  /** From the first release to the last, in ms. */
  total: number;
  /** How many hand-overs went to the one that had waited longest. */
  inOrder: number;
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
  let inOrder = 0;
  for (const turn of served) {
    const [longest] = waiting;
    if (turn === longest) inOrder++;
    waiting.delete(turn);
  }
  return {
    handovers: served.map((turn, i) => turn.started - (turns[i] as Turn).ended),
    total: (turns.at(-1) as Turn).ended - holder.ended,
    inOrder,
    waits: arrived.map(({ asked, started }) => ({ waited: started - asked, before: holder.ended - asked })),
    ...cost,
  };
}

/**
 * Each wait over what it would have been, had everybody been served in the order of arrival, each hand-over had
 * taken the median, and all work what it was meant to.
 */
export function fairness(rounds: Round[], work: number): number[] {
  const handover = median(rounds.flatMap((round) => round.handovers));
  return rounds.flatMap(({ waits }) =>
    waits.map(({ waited, before }, i) => waited / (before + (i + 1) * handover + i * work)),
  );
}
