import type { ClientLine, DirectorLine } from "../log.ts";

/** What may be wrong. */
export const findingKinds = {
  overlap: "more believed to hold a lock at the same time than may",
  validity: "a client was sure of its lock for longer than Redis was to keep it",
  access: "a client went on although its signal was aborted, or nothing was left of its lease",
  fence: "fencing tokens out of order",
  stale: "a stale write that the fence let through",
  orphan: "a lock held longer than one lease and one request's limit past its last believer",
  starved: "a waiter that waited in vain while many who came later got the lock",
  idle: "a lock that had room for all who waited, and let nobody in for long",
  vain: "one of several keys that was kept after the others were busy",
  letin: "somebody let in against an operator's word",
  untold: "a holder whose lock an operator had ended renewed it, or was told of another reason",
  value: "a result that none made, or another one than was made",
  lost: "a result of a holder that had lost its lock",
  old: "a result given after its time",
  again: "work done again while its result was kept",
  verdict: "busy, held or unknown said where it cannot have been so",
  leak: "a key left behind",
  process: "a process that did not exit by itself, or failed",
  error: "a client got an error that is none of the library's answers",
  vacuous: "a storm in which too little happened to tell",
} as const;

export type FindingKind = keyof typeof findingKinds;

export interface Finding {
  kind: FindingKind;
  text: string;
  /** The log lines that show it. */
  evidence: (ClientLine | DirectorLine)[];
}

/** A client's lines about an attempt that tell most, for evidence. */
export function gist(lines: ClientLine[]): ClientLine[] {
  const plain = lines.filter(({ what }) => what !== "waiting");
  return plain.length <= 8 ? plain : [...plain.slice(0, 3), ...plain.slice(-5)];
}
