import { countUntroubled, starved, wrongVerdicts } from "./check/answers.ts";
import { countFaults, vacuous } from "./check/faults.ts";
import { countLateWrites, fenceOrder, staleWrites } from "./check/fences.ts";
import type { Finding } from "./check/finding.ts";
import { accesses, overlaps, validity } from "./check/holders.ts";
import { idle, idleSeconds } from "./check/idle.ts";
import { keptInVain, leaks, orphanSeconds, orphans } from "./check/leftovers.ts";
import { letIn, untold } from "./check/operator.ts";
import { errors, processes } from "./check/processes.ts";
import { lostResults, oldResults, workedAgain, wrongValues } from "./check/results.ts";
import { tellStory } from "./check/story.ts";
import type { Logs } from "./log.ts";

/** What a storm must at least have seen, or nothing follows from it. */
export interface Expected {
  acquisitions: number;
  /** Kinds of faults. */
  faults: string[];
  /** Whether what clients were sure of is the library's word. */
  tells: boolean;
}

export interface Verdicts {
  findings: Finding[];
  figures: Figures;
}

interface Figures {
  attempts: number;
  acquisitions: number;
  busy: number;
  unknown: number;
  /** Attempts during which nothing was the matter. */
  untroubled: number;
  processes: number;
  /** That locks had room for all who waited. */
  idleSeconds: number;
  orphanSeconds: { killed: number; alive: number };
  lateWrites: { accepted: number; refused: number };
  faults: Map<string, number>;
}

/** Whether too little has happened by now. Takes a fraction of the time of `check`: meanwhile no request is answered. */
export function isVacuous(logs: Logs, { acquisitions, faults }: Expected): boolean {
  return vacuous(tellStory(logs), acquisitions, faults).length > 0;
}

/** Reads what everybody wrote, and says what was wrong. */
export function check(logs: Logs, expected: Expected): Verdicts {
  const story = tellStory(logs);
  const { attempts } = story;
  const refused = (verdict: string) =>
    attempts.filter((attempt) => attempt.refused?.verdict === verdict).length;
  return {
    findings: [
      ...overlaps(story),
      ...(expected.tells ? validity(story) : []),
      ...accesses(story),
      ...fenceOrder(story),
      ...staleWrites(story),
      ...orphans(story),
      ...starved(story),
      ...idle(story),
      ...keptInVain(story),
      ...letIn(story),
      ...untold(story),
      ...wrongValues(story),
      ...lostResults(story),
      ...oldResults(story),
      ...workedAgain(story),
      ...wrongVerdicts(story),
      ...leaks(story),
      ...processes(story),
      ...errors(story),
      ...vacuous(story, expected.acquisitions, expected.faults),
    ],
    figures: {
      attempts: attempts.length,
      acquisitions: attempts.filter(({ beliefs }) => beliefs.length).length,
      busy: refused("busy"),
      unknown: refused("unknown"),
      untroubled: countUntroubled(story),
      processes: logs.clients.size,
      idleSeconds: idleSeconds(story),
      orphanSeconds: orphanSeconds(story),
      lateWrites: countLateWrites(story),
      faults: countFaults(story),
    },
  };
}
